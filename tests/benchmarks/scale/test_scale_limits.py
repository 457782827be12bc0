"""The first limit is the one that is met with the fewest universes, and a remedy relieves what it is for."""

from dataclasses import replace

from costs import COSTS

from benchmarks.scale.capacity import Load, Site, needs
from benchmarks.scale.limits import LIMITS, RESTORE_SECONDS, crossings, remedies, snapshot_bars_within

DEAR = replace(COSTS, commit=2e-3, broker_commit=2e-3, commit_wait=0.01)
LOAD, SITE = Load(10_000, 50, 1e7), Site()


def test_limits_are_met_in_this_order_and_not_one_universe_sooner():
    found = crossings(50, 1000.0, DEAR, SITE)
    assert sorted(each.limit.name for each in found) == sorted(limit.name for limit in LIMITS)
    met = [each.universes for each in found if each.universes is not None]
    assert met == sorted(met)
    assert met
    for each in found:
        ratio = each.limit.ratio(needs(LOAD, DEAR, SITE), SITE)
        assert ratio == each.at_end
        if each.universes is not None:
            fewer = int(0.95 * each.universes)
            assert each.limit.ratio(needs(Load(fewer, 50, 1000.0 * fewer), DEAR, SITE), SITE) < 1.0


def test_snapshots_are_as_far_apart_as_the_way_back_allows():
    bars = snapshot_bars_within(LOAD, DEAR, SITE)
    assert bars > SITE.snapshot_bars
    assert needs(LOAD, DEAR, replace(SITE, snapshot_bars=bars)).restore <= RESTORE_SECONDS
    assert needs(LOAD, DEAR, replace(SITE, snapshot_bars=2 * bars)).restore > RESTORE_SECONDS


def test_each_remedy_leaves_less():
    plans = [plan for _, _, plan in remedies(LOAD, DEAR, SITE)]
    shipped, seldom, longer, archived = plans
    assert seldom.snapshots < shipped.snapshots / 2
    assert longer.commits < seldom.commits
    assert archived.disk < longer.disk
    assert [plan.month for plan in plans] == sorted((plan.month for plan in plans), reverse=True)
