"""Reference values of agreement between annotators: writes agreement.json beside this file.

    pip install krippendorff==0.9.0 scikit-learn==1.9.1 statsmodels==0.15.0 && python make_agreement.py

The ratings are made here, from a fixed seed; null is a missing rating.
"""
import json
import pathlib

import krippendorff
import numpy as np
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

rng = np.random.RandomState(7)
LEVELS = ("nominal", "ordinal", "interval")


def alphas(table):
    data = np.array([[np.nan if v is None else v for v in row] for row in table], dtype=float)
    return {level: float(krippendorff.alpha(reliability_data=data, level_of_measurement=level)) for level in LEVELS}


truth = rng.randint(0, 4, 17)
full = [[int(t) if rng.rand() < p else int(rng.randint(0, 4)) for t in truth] for p in (0.85, 0.7, 0.6)]
holes = [[None if rng.rand() < 0.15 else v for v in row] for row in full]
holes[0][16], holes[1][16], holes[2][16] = 3, None, None  # an item that one person rated does not count
base = rng.randint(1, 11, 11)
scale = [[None if rng.rand() < 0.2 else int(v) for v in np.clip(np.round(base + rng.normal(0, 1.2, 11)), 1, 10)] for _ in range(4)]
# An annotator who uses a class that the other never does.
a, b = [0, 0, 1, 1, 2, 0, 1], [0, 0, 1, 0, 1, 0, 1]

pathlib.Path(__file__).with_name("agreement.json").write_text(
    json.dumps(
        {
            "full": {
                "ratings": full,
                "cohen": [[float(cohen_kappa_score(full[i], full[j])) for j in range(3)] for i in range(3)],
                "linear": float(cohen_kappa_score(full[0], full[1], weights="linear")),
                "quadratic": float(cohen_kappa_score(full[0], full[1], weights="quadratic")),
                "fleiss": float(fleiss_kappa(aggregate_raters(np.array(full).T)[0])),
                "alpha": alphas(full),
            },
            "holes": {"ratings": holes, "alpha": alphas(holes)},
            "scale": {"ratings": scale, "alpha": alphas(scale)},
            "lopsided": {"ratings": [a, b], "cohen": float(cohen_kappa_score(a, b)), "alpha": alphas([a, b])},
        },
        indent=1,
    )
    + "\n"
)
