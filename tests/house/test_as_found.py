"""What `import sbirules` and its calls leave behind of the user's process: nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, os, random, sys, warnings
sys.path.insert(0, {tests!r})
import matplotlib, numpy as np, torch
import scipy.sparse, scipy.special, sympy  # each adds a filter for warnings of its own when first imported
torch.distributions.Distribution.set_default_validate_args(True)
warnings.filterwarnings("error", message="a filter of the user's own")

def state():
    return {{
        "argument checks": torch.distributions.Distribution._validate_args,
        "dtype": str(torch.get_default_dtype()),
        "device": str(torch.get_default_device()),
        "torch's stream": hash(torch.get_rng_state().numpy().tobytes()),
        "numpy's stream": hash(np.random.get_state()[1].tobytes()) + np.random.get_state()[2],
        "python's stream": hash(random.getstate()),
        "gradients": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "warnings": [str(f) for f in warnings.filters],
        "matplotlib": {{k: str(v) for k, v in matplotlib.rcParams.items() if k not in ("backend", "interactive")}},
        "folder": os.getcwd(),
        "files": sorted(os.listdir()),
        "numpy's errors": np.geterr(),
        "modules of the user": [p for p in sys.path],
    }}

found = state()
import sbirules as sr
after_import = state()
from cheap import PRIOR, Cheap
from sbirules.samplers.smc import SamplerSettings
options = {{"num_workers": 1, "progress": False}}
few = SamplerSettings(num_runs=2, num_particles=128, num_moves=4, max_doublings=0)
settings = sr.LikelihoodSettings(members=1, hidden_features=5, epochs=2, min_steps=0)
simulator = Cheap()
store = sr.simulate(simulator, PRIOR, 300, **options)
x_o = {{"final_error": 0.4}}
posterior = sr.fit(store, PRIOR, x_o=x_o, settings=settings, sampler=few)
asked = sr.fit(store, PRIOR, constraints={{"final_error": (0, 0.5)}}, sampler=few)
npe = sr.fit(store, PRIOR, x_o=x_o, estimator="npe", settings=sr.NPESettings(members=1, epochs=2, min_steps=0))
for each in (posterior, asked, npe):
    each.sample((20,)), each.map(), each.marginals(), each.to_inference_data()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    checked = sr.check(asked, simulator, store=store, rules=20, networks_per_rule=2, **options)
    sr.report({report!r}, asked, simulator, checked=checked, store=store)
    sr.figures.pairs(asked)
    import matplotlib.pyplot as plt
    plt.close("all")
try:
    torch.distributions.Normal(0.0, -1.0)
    found["wrong distribution"] = "passed"
except ValueError:
    pass
after_calls = state()
for name, then in (("import", after_import), ("calls", after_calls)):
    for key in found:
        if found.get(key) != then.get(key):
            what = found.get(key), then.get(key)
            if isinstance(what[0], dict):
                what = {{k: (v, what[1][k]) for k, v in what[0].items() if what[1][k] != v}}
            print(json.dumps([name, key, str(what)[:300]]))
"""


def differences(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    script = SCRIPT.format(tests=str(Path(__file__).parents[1]), report=str(tmp_path / "r.html"))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-c", script], cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_everything_is_as_it_was_found(tmp_path):
    assert differences(tmp_path) == []
