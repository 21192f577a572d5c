"""What faults do to a world, alone and over one another, and that all is as before at their end."""

from __future__ import annotations

from federlib.testing.sim import Network, Simulation


def test_a_link_that_was_cut_follows_what_holds_of_all() -> None:
    with Simulation(seed=1) as sim:
        network = Network(sim)
        network.default.loss_ppm = 1_000_000
        network.cut(["a"], ["b"])
        network.default.loss_ppm = 0
        assert not network.send("a", "b", lambda _: None, None)
        network.cut(["a"], ["b"], is_cut=False)
        assert network.send("a", "b", lambda _: None, None)
        network.default.loss_ppm = 1_000_000
        assert not network.send("a", "b", lambda _: None, None)
