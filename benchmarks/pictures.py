"""How the pictures of the docs look: colours that colour-blind people tell apart, and little ink."""

INK, MUTED, GRID = "#1b2733", "#5a6672", "#dde2e7"
GREY, BLUE, ORANGE, GREEN = "#7a8794", "#0b5cad", "#c2410c", "#15803d"
#: For matplotlib's ``rc_context``; ``svg.hashsalt`` is the picture's own, so that it comes out the same.
STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.0,
    "axes.titlecolor": INK,
    "figure.facecolor": "white",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}
