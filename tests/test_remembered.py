"""What is remembered is what was made for the very same objects."""

from stream_allocator.remembered import remembered


def test_the_same_objects_are_asked_once_and_equal_ones_are_others():
    asked = []

    @remembered(4)
    def joined(left, right):
        """Both."""
        asked.append((left, right))
        return [*left, *right]

    first, second = [1], [2]
    assert joined(first, second) == [1, 2]
    assert joined(first, second) is joined(first, second)
    assert joined(list(first), second) == [1, 2]
    assert joined(second, first) == [2, 1]
    assert len(asked) == 3
    assert joined.__doc__ == "Both."


def test_of_more_than_asked_for_the_oldest_is_forgotten():
    made = []

    @remembered(2)
    def copied(given):
        made.append(given)
        return list(given)

    lists = [[0], [1], [2]]
    results = [copied(x) for x in lists]
    assert copied(lists[2]) is results[2]
    assert copied(lists[1]) is results[1]
    assert copied(lists[0]) is not results[0]
    assert len(made) == 4


def test_what_dies_gives_its_place_to_nobody():
    @remembered(8)
    def size(given):
        return len(given)

    # each list would be free for the next one's memory, had the last one not been kept
    assert [size([None] * n) for n in range(6)] == list(range(6))


def test_a_failure_is_not_remembered():
    tries = []

    @remembered(2)
    def once_bad(given):
        tries.append(given)
        if len(tries) == 1:
            raise ValueError("not yet")
        return given

    given = [1]
    try:
        once_bad(given)
    except ValueError:
        assert once_bad(given) is given
    assert len(tries) == 2
