"""Active learning: dynamics finds structures that a committee does not know, and few are chosen."""

from ritz.extras import needs as _needs

with _needs("ritz.exploration", "mlip"), _needs("ritz.exploration", "relax"):
    from ritz.exploration.explore import Exploration as Exploration
    from ritz.exploration.explore import explore as explore
    from ritz.exploration.features import structure_features as structure_features
    from ritz.exploration.selection import d_optimal as d_optimal
    from ritz.exploration.selection import farthest_points as farthest_points
    from ritz.exploration.selection import select as select
