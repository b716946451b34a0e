from reviewpulse.failures import FAILURES_PER_MINUTE, Failures


def test_an_address_that_failed_too_often_may_try_again_a_minute_after() -> None:
    now = 100.0
    failures = Failures(lambda: now)
    for _ in range(FAILURES_PER_MINUTE):
        assert failures.wait_seconds("a") == 0
        failures.note("a")

    assert (failures.wait_seconds("a"), failures.wait_seconds("b")) == (60, 0)
    now += 59.5
    assert failures.wait_seconds("a") == 1
    now += 0.5
    assert failures.wait_seconds("a") == 0


def test_failures_of_many_addresses_take_bounded_memory_and_the_oldest_are_forgotten() -> None:
    failures = Failures(lambda: 0.0)
    for address in range(20_000):
        failures.note(str(address))

    assert len(failures._moments) == 10_000
    assert "19999" in failures._moments
