"""Fast-slow networks: gradients against differences, scales of a known network, training, files, refusals."""

import datetime
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import sbirules as sr
from sbirules.simulators import (
    FastSlowNetwork,
    FastSlowSettings,
    bcm_sessions,
    compare_networks,
    lorenz_sessions,
    ring_sessions,
    stimulation_sessions,
)
from sbirules.simulators.sessions._dynamics import Parts, Windows, predicted, windows_of
from sbirules.simulators.sessions._scales import fitted_scales
from sbirules.simulators.sessions._training import _started, loss_of

SMALL = FastSlowSettings(rank=2, units=12, horizon=4, restarts=2, iterations=60, batch=32, history=2)


def weights(sessions, s=SMALL, seed=0):
    normed = [y.float() for y in sessions.observations]
    return _started(s, len(sessions.input_channels), normed, torch.Generator().manual_seed(seed))


def test_predictions_are_those_of_the_written_out_dynamics():
    sessions = stimulation_sessions(3, 40).sessions
    p = Parts(**weights(sessions)).one(1)
    w = windows_of(sessions.observations[0].float(), sessions.inputs[0].float(), 2, 5, 7)
    c = torch.tensor([0.7, -0.4])
    found = predicted(p, c.expand(len(w.past), -1), w, 0.2)
    matrix = sum(c[r] * torch.outer(p.left[:, r], p.right[:, r]) for r in range(2))
    for k in range(len(w.past)):
        at = 7 * k
        past = sessions.observations[0][at : at + 2].float().flatten()
        h = p.encoder @ past + p.encoder_bias
        for t in range(5):
            u = sessions.inputs[0][at + 1 + t].float()
            h = h + 0.2 * (-h + matrix @ torch.tanh(h) + p.into @ u + p.bias)
            torch.testing.assert_close(found[k, t], p.readout @ h + p.offset, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(w.future[k], sessions.observations[0][at + 2 : at + 7].float())


def test_the_gradient_of_the_loss_is_that_of_finite_differences():
    sessions = stimulation_sessions(4, 40).sessions
    s = FastSlowSettings(rank=2, units=6, horizon=3, restarts=2, law="tanh", slow=0.5, smooth=0.2, orthogonal=0.3)
    p = {name: v.double() for name, v in weights(sessions, s).items()}
    p["slow"] = torch.randn(p["slow"].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    w = windows_of(sessions.observations[0], sessions.inputs[0], 1, 3, 5)
    which = torch.arange(len(w.past)) % 4

    def loss(parts):
        return loss_of(parts, s, which, w, 0.3, sessions.stimulation, torch.tensor([1.0, 0.0, 1.0]).double())

    moving = {name: v.clone().requires_grad_(True) for name, v in p.items()}
    loss(moving).sum().backward()
    gen = torch.Generator().manual_seed(2)
    for name, v in p.items():
        way = torch.randn(v.shape, generator=gen, dtype=torch.float64)
        up, down = ({**p, name: v + step * 1e-6 * way} for step in (1, -1))
        own = (loss(up) - loss(down)).sum() / 2e-6
        grad = moving[name].grad
        torch.testing.assert_close((grad * way).sum(), own, rtol=1e-5, atol=1e-7, msg=name)


def test_scales_of_a_known_network_are_found_with_their_errors():
    gen = torch.Generator().manual_seed(0)
    sessions = stimulation_sessions(3, 40).sessions
    p = Parts(**weights(sessions)).one(0)
    truth, z = torch.tensor([1.4, 0.6]), []
    for _ in range(40):
        past = torch.randn(60, 8, generator=gen)
        w = Windows(past, torch.randn(60, 6, 2, generator=gen), torch.zeros(60, 6, 4))
        clean = predicted(p, truth.expand(60, -1), w, 0.3)
        noisy = w._replace(future=clean + 0.3 * torch.randn(clean.shape, generator=gen))
        c, cov = fitted_scales(p, noisy, 0.3, torch.ones(2), 1.0)
        z.append(torch.linalg.solve_triangular(torch.linalg.cholesky(cov), (c - truth)[:, None], upper=False)[:, 0])
    z = torch.stack(z)
    assert z.square().mean() == pytest.approx(1.0, abs=3.5 * math.sqrt(2 / 80))
    assert z.mean().abs() < 3.5 / math.sqrt(80)


@pytest.fixture(scope="module")
def trained():
    sessions = lorenz_sessions(6, 200, seed=1).sessions
    s = FastSlowSettings(rank=3, units=32, tau=0.3, horizon=5, restarts=2, iterations=250, learning_rate=2e-2)
    return FastSlowNetwork.fit(sessions, s, seed=1), sessions


def test_training_learns_to_predict(trained):
    network, sessions = trained
    scales = network.scales(sessions)
    assert scales.scales.shape == (1, 6, 3)
    found = network.explained(sessions, scales.scales[0])
    last = [(y[1:-5].repeat(1, 1)[::5], y) for y in sessions.observations]
    assert found > 0.9
    assert len(last) == 6
    torch.testing.assert_close(network.parts.left.norm(dim=0), torch.ones(3), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.parts.right.norm(dim=0), torch.ones(3), rtol=1e-4, atol=1e-4)
    assert network.circuit.overlap.shape == (3, 3)
    assert network.simulate(scales.scales[0, 0], sessions.observations[0][:1], torch.zeros(50, 0)).shape == (50, 3)


def test_networks_repeat_themselves_and_files_bring_them_back(trained, tmp_path):
    network, sessions = trained
    twin = FastSlowNetwork.fit(sessions, network.settings, seed=1)
    assert torch.equal(twin.parts.left, network.parts.left)
    network.save(tmp_path)
    back = FastSlowNetwork.load(tmp_path)
    scales = network.scales(sessions).scales[0]
    assert back.explained(sessions, scales) == pytest.approx(network.explained(sessions, scales))
    on = FastSlowNetwork.fit(sessions, network.settings, seed=2, start=back)
    assert min(on.training["held_out"]) < 1.05 * min(network.training["held_out"])


def test_dales_law_holds():
    sessions = bcm_sessions(4, 80, units=10, observed=5).sessions
    signs = (1,) * 10 + (-1,) * 2
    s = FastSlowSettings(rank=2, units=12, horizon=4, restarts=2, iterations=30, signs=signs)
    p = FastSlowNetwork.fit(sessions, s).parts
    assert (p.left >= 0).all()
    assert (torch.tensor(signs)[:, None] * p.right >= 0).all()


@pytest.mark.parametrize("make", [lorenz_sessions, bcm_sessions, ring_sessions, stimulation_sessions])
def test_benchmarks_repeat_themselves_and_change(make):
    a, b, other = make(6, 60, seed=3), make(6, 60, seed=3), make(6, 60, seed=4)
    assert a.sessions.digest() == b.sessions.digest() != other.sessions.digest()
    assert a.slow.shape == (6, len(a.names))
    assert (a.slow.diff(dim=0).abs() > 0).all()


def test_sessions_through_files(tmp_path):
    sessions = stimulation_sessions(4, 50).sessions
    sessions.write(tmp_path / "all.npz")
    back = sr.Sessions.read(tmp_path / "all.npz")
    assert torch.equal(back.observations[2], sessions.observations[2])
    assert back.time == sessions.time
    folder = tmp_path / "days"
    folder.mkdir()
    for k in range(4):
        np.savez(folder / f"day {k + 8}.npz", observations=sessions.observations[k], inputs=sessions.inputs[k])
    read = sr.Sessions.read(folder, dt=0.2)
    assert all(torch.equal(a, b) for a, b in zip(read.observations, sessions.observations, strict=True))
    with pytest.raises(ValueError, match="dt, the time between samples"):
        sr.Sessions.read(folder)
    with pytest.raises(ValueError, match=r"no \.npz file"):
        sr.Sessions.read(tmp_path / "none.npz")
    assert "4 sessions" in sessions._repr_html_()
    assert len(sessions.subset([0, 3])) == 2


GOOD = [torch.randn(20, 2) for _ in range(3)]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: sr.Sessions.of(GOOD[:1]), "at least two"),
        (lambda: sr.Sessions.of([*GOOD, torch.randn(20, 3)]), "the same channels"),
        (lambda: sr.Sessions.of(GOOD, [torch.zeros(20, 1)] * 2), "inputs must be of each"),
        (lambda: sr.Sessions.of(GOOD, [torch.zeros(19, 1)] * 3), "inputs as many as observations"),
        (lambda: sr.Sessions.of([torch.full((20, 2), torch.nan)] * 2), "sample 1 of session 1"),
        (lambda: sr.Sessions.of(GOOD, time=[0, 2, 1]), "rising"),
        (lambda: sr.Sessions.of(GOOD, dt=0), "dt must be a number greater than 0"),
        (lambda: FastSlowSettings(law="cubic"), "law"),
        (lambda: FastSlowSettings(signs=(1, 2)), "signs must be 1 or -1"),
        (lambda: FastSlowNetwork.fit(sr.Sessions.of(GOOD), FastSlowSettings(horizon=30)), "too short"),
        (lambda: FastSlowNetwork.load("nowhere"), "holds no network"),
    ],
)
def test_wrong_sessions_and_settings_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()


def test_a_network_refuses_other_sessions(trained):
    network, _ = trained
    with pytest.raises(ValueError, match="of 3 channels and 0 of input"):
        network.scales(stimulation_sessions(3, 60).sessions)
    with pytest.raises(ValueError, match="trained at dt"):
        network.scales(lorenz_sessions(3, 60, dt=0.01).sessions)


def test_several_animals_share_a_network():
    a, b = (stimulation_sessions(n, 80, seed=1).sessions for n in (5, 4))
    b = replace(b, learner="2")
    network = FastSlowNetwork.fit([a, b], SMALL)
    scales = network.scales([a, b])
    assert scales.num_sessions.tolist() == [5, 4]
    assert scales.learners == ("1", "2")
    torch.testing.assert_close(scales.scales[1, :4], network.scales(b).scales[0])
    with pytest.raises(ValueError, match="a name of its own"):
        FastSlowNetwork.fit([a, a], SMALL)
    with pytest.raises(ValueError, match="same channels and dt"):
        FastSlowNetwork.fit([a, replace(b, dt=0.1)], SMALL)


def test_networks_are_compared_by_sessions_they_did_not_see():
    sessions = lorenz_sessions(10, 120).sessions
    s = {"units": 24, "restarts": 1, "iterations": 150, "tau": 0.3, "learning_rate": 2e-2, "horizon": 5, "law": None}
    found = compare_networks(sessions, {f"rank {r}": FastSlowSettings(rank=r, **s) for r in (1, 3)}, horizon=5)
    assert found.loc["rank 3", "explained"] > found.loc["rank 1", "explained"]
    with pytest.raises(ValueError, match="at least two sessions on each side"):
        compare_networks(sessions, {"one": SMALL}, first=0.99)


def written(path, day, subject="rat 1", seconds=4.0, rate=100.0, shift=0.0):
    """A session as NWB: two channels that rise, and stimulation at a rate of its own in the second half."""
    pynwb = pytest.importorskip("pynwb")
    start = datetime.datetime(2026, 1, 1 + day, tzinfo=datetime.UTC)
    file = pynwb.NWBFile("made up", path.stem, start)
    file.subject = pynwb.file.Subject(subject_id=subject, species="Rattus norvegicus")
    t = np.arange(int(seconds * rate)) / rate
    data = np.stack([t, day + 2 * t], axis=1)
    file.add_acquisition(
        pynwb.TimeSeries(name="lfp", data=data, unit="V", rate=rate, starting_time=shift, conversion=2.0)
    )
    on = (np.arange(int(seconds * 40)) / 40 >= seconds / 2).astype(float)
    file.add_stimulus(pynwb.TimeSeries(name="stim", data=on, unit="A", rate=40.0, starting_time=0.0))
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file)


def test_sessions_of_nwb_files(tmp_path):
    for k, day in enumerate((5, 0, 2)):
        written(tmp_path / f"{'cab'[k]}.nwb", day)
    sessions = sr.Sessions.read(tmp_path, series="lfp", stimulation="stim", dt=0.1)
    assert sessions.time == (0.0, 2.0, 5.0)
    assert sessions.learner == "rat 1"
    y, u = sessions.observations[2], sessions.inputs[2]
    middle = 0.1 * torch.arange(len(y)) + 0.045  # of ten frames
    torch.testing.assert_close(y, 2 * torch.stack([middle, 5 + 2 * middle], dim=1).double(), rtol=1e-6, atol=1e-6)
    assert torch.equal(u[:, 0] > 0.5, middle > 2.0)
    alone = sr.Sessions.read([tmp_path / "a.nwb", tmp_path / "b.nwb"], series="lfp", dt=0.1)
    assert not alone.input_channels
    for wrong, words in (
        (lambda: sr.Sessions.read(tmp_path, series="eeg", dt=0.1), "no series 'eeg'"),
        (lambda: sr.Sessions.read(tmp_path, series="lfp", dt=0.001), "no frame from"),
        (lambda: sr.Sessions.read(tmp_path / "a.nwb", dt=0.1), "name of the series"),
        (lambda: sr.Sessions.read(tmp_path, series="lfp"), "dt, seconds of a series"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()
    written(tmp_path / "d.nwb", 7, subject="rat 2")
    with pytest.raises(ValueError, match="files of one animal"):
        sr.Sessions.read(tmp_path, series="lfp", dt=0.1)
    far = tmp_path / "far"
    far.mkdir()
    written(far / "e.nwb", 1, shift=100.0)
    with pytest.raises(ValueError, match="are their clocks the same"):
        sr.Sessions.read(far, series="lfp", stimulation="stim", dt=0.1)
