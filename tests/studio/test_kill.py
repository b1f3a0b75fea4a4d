"""A server that is killed at any moment loses nothing but the edit in hand; `tools/kill_studio.py` does it more often."""

from helpers.kills import kill_at_random_moments


def test_a_server_killed_at_random_moments_loses_nothing(tmp_path):
    assert kill_at_random_moments(tmp_path, 10) > 20
