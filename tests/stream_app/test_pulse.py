from stream_app.pulse import Beat, Pulse

READING = Beat(4, 0, has_model=True, is_rebalancing=False)
LAGGING = READING._replace(waiting_reviews=7)
LOADING = Beat(0, 0, has_model=False, is_rebalancing=True)
JOINING = READING._replace(is_rebalancing=True)


class Clock:
    """A clock and an outage that stand where they are put."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.outage: float | None = None
        self.pulse = Pulse(10, 60, lambda: self.outage, lambda: self.now)

    def live(self, seconds: float, seen: Beat) -> None:
        """Let the event loop run for so long, always seeing the same."""
        for _ in range(round(seconds)):
            self.now += 1
            self.pulse.beat(seen)
            if self.outage is not None:
                self.outage += 1


def test_an_idle_worker_never_stands_still() -> None:
    clock = Clock()
    clock.live(1_000, READING)

    assert clock.pulse.standstill() is None


def test_reviews_that_wait_while_no_batch_is_done_are_a_standstill_after_the_limit_only() -> None:
    clock = Clock()
    clock.live(1_000, READING)
    clock.live(10, LAGGING)
    assert clock.pulse.standstill() is None

    clock.live(1, LAGGING)

    assert clock.pulse.standstill() == "7 reviews waiting and no batch done for 11 s"


def test_a_batch_done_begins_the_count_anew() -> None:
    clock = Clock()
    clock.live(10, LAGGING)
    clock.pulse.progressed()
    clock.live(10, LAGGING)

    assert clock.pulse.standstill() is None


def test_an_event_loop_that_does_not_come_round_is_a_standstill_whatever_it_saw_last() -> None:
    clock = Clock()
    clock.live(5, READING)
    clock.now += 11

    assert clock.pulse.standstill() == "the event loop has not come round for 11 s"


def test_loading_and_joining_may_take_five_times_as_long_and_not_for_ever() -> None:
    for seen, words in ((LOADING, "loading the model for 51 s"), (JOINING, "joining the group for 51 s")):
        clock = Clock()
        clock.live(50, seen)
        assert clock.pulse.standstill() is None

        clock.live(1, seen)

        assert clock.pulse.standstill() == words


def test_after_a_long_rebalance_the_worker_has_its_whole_limit_for_the_first_batch() -> None:
    clock = Clock()
    clock.live(40, JOINING)
    clock.live(11, LAGGING)
    assert clock.pulse.standstill() is None

    clock.live(1, LAGGING)

    assert clock.pulse.standstill() == "7 reviews waiting and no batch done for 52 s"


def test_one_rebalance_after_the_other_without_a_batch_is_a_standstill_at_last() -> None:
    clock = Clock()
    for _ in range(20):
        clock.live(1, JOINING)
        clock.live(2, LAGGING)
    assert clock.pulse.standstill() is None

    clock.live(1, LAGGING)

    assert clock.pulse.standstill() == "7 reviews waiting and no batch done for 61 s"


def test_an_outage_is_left_to_its_own_limit_and_a_standstill_beyond_it() -> None:
    clock = Clock()
    clock.outage = 0.0
    clock.live(70, LAGGING)
    assert clock.pulse.standstill() is None
    clock.live(1, LAGGING)
    assert clock.pulse.standstill() == "an outage of 71 s did not end the worker"


def test_after_an_outage_the_count_begins_anew() -> None:
    clock = Clock()
    clock.outage = 0.0
    clock.live(50, LAGGING)
    assert clock.pulse.standstill() is None
    clock.outage = None
    clock.live(10, LAGGING)

    assert clock.pulse.standstill() is None


def test_a_time_in_which_the_process_was_stopped_does_not_count() -> None:
    clock = Clock()
    clock.live(5, LAGGING)
    clock.now += 1_000
    clock.pulse.forgive(1_000)

    assert clock.pulse.standstill() is None


def test_a_limit_of_nought_turns_it_off() -> None:
    pulse = Pulse(0, 60, lambda: None, iter((0.0, 1e9)).__next__)

    assert pulse.standstill() is None


def test_a_worker_is_ready_with_a_model_and_partitions() -> None:
    clock = Clock()
    reasons = []
    for seen in (LOADING, LOADING._replace(is_rebalancing=False), JOINING, READING._replace(partitions=0), READING):
        clock.pulse.beat(seen)
        reasons.append(clock.pulse.unreadiness())

    assert reasons == [
        "loading the model",
        "loading the model",
        "joining the group",
        "the group has no partition left for this worker",
        None,
    ]
