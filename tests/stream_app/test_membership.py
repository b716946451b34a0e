import pytest

from reviewpulse.errors import MembershipError
from stream_app.membership import check_name, client_id, instance_name


def test_another_member_with_our_name_is_an_error_that_tells_the_cure() -> None:
    with pytest.raises(MembershipError, match=r"the name a-1 .*REVIEWPULSE_INSTANCE"):
        check_name("a-1", "a-1-9f3c", {"a-1": "a-1-0001"})


def test_a_name_without_a_setting_comes_from_the_machine() -> None:
    first, second = instance_name(None, 1), instance_name(None, 2)

    assert first != second
    assert first.removesuffix("-1") == second.removesuffix("-2") != ""
    assert client_id().startswith("reviewpulse-")
