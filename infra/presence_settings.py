"""The limits of presence and typing."""

from pydantic import BaseModel

from infra.setting import setting


class PresenceSettings(BaseModel):
    """Part of ``Settings``; ``infra/presence.py`` makes its own limits of it."""

    presence_expiry_seconds: float = setting(
        30.0, "seconds", "After its last heartbeat a device counts as gone: one heartbeat may be lost or late.", gt=0
    )
    presence_heartbeat_seconds: float = setting(
        20.0, "seconds", "How often clients are told to send one; well below the expiry.", gt=0
    )
    presence_remembered_seconds: float = setting(
        7 * 24 * 60 * 60.0,
        "seconds",
        "How long Redis keeps what somebody chose last, for when he is back: who was invisible stays so.",
        gt=0,
    )
    presence_devices_max: int = setting(
        20, "devices", "Of one account; with one more, the one that was silent longest is forgotten.", ge=1
    )
    presence_changes_max: int = setting(
        30, "changes", "Of one account, arrivals among them: each is told to everybody in all of its servers.", ge=1
    )
    presence_changes_seconds: float = setting(60.0, "seconds", "In which so many changes are too many.", gt=0)
    presence_log_max: int = setting(
        2_000,
        "accounts",
        "Whose last change a server keeps; a reader further behind reads everybody anew.",
        ge=1,
        le=5_000,
    )
    presence_sweep_seconds: float = setting(
        1.0, "seconds", "How often each API process looks for devices that have gone: the delay of showing it.", gt=0
    )
    presence_sweep_accounts_max: int = setting(
        200, "accounts", "Settled in one script, which Redis does nothing else meanwhile: a few milliseconds.", ge=1
    )
    presence_read_accounts_max: int = setting(
        500, "accounts", "Asked of Redis in one script, for the same reason.", ge=1
    )
    presence_redis_calls_max: int = setting(
        20,
        "calls",
        "To Redis at a time; others wait. What else asks Redis in the process needs connections, too.",
        ge=1,
    )
    presence_redis_seconds_max: float = setting(
        1.0, "seconds", "How long Redis may take over presence or typing before it counts as away.", gt=0
    )
    presence_places_seconds_max: float = setting(
        2.0,
        "seconds",
        "How long a heartbeat waits for PostgreSQL to say where somebody is seen; then: as before.",
        gt=0,
    )
    presence_coalesce_seconds: float = setting(
        0.25, "seconds", "What changes within is told together; a person sees no difference.", ge=0
    )
    presence_coalesce_large_seconds: float = setting(
        2.0, "seconds", "The same where many are present: there somebody comes or goes all the time.", ge=0
    )
    presence_large_people_min: int = setting(
        1_000, "accounts", "So many present make a server a large one in this regard.", ge=1
    )
    presence_people_max: int = setting(
        20_000,
        "accounts",
        "Present in one server that are told of; more are taken as offline until others leave.",
        ge=1,
    )
    presence_company_max: int = setting(
        500,
        "accounts",
        "Of those with whom somebody is in conversations whose presence he is told of, and as many conversations: each "
        "is listened to. Of more, those in the conversations that he came to last.",
        ge=1,
    )
    presence_page_size: int = setting(
        500, "accounts", "In one message; a snapshot of more comes in several, each when the one before has left.", ge=1
    )
    presence_check_seconds: float = setting(
        0.5, "seconds", "How soon after a change of members or permissions streams that end by it have ended.", gt=0
    )
    presence_refresh_seconds: float = setting(
        60.0,
        "seconds",
        "How often a followed server is read anew: heals what a Redis that lost data did not tell.",
        gt=0,
    )
    typing_expiry_seconds: float = setting(
        8.0, "seconds", "Who says no more that he types is taken to have stopped.", gt=0
    )
    typing_repeat_seconds: float = setting(
        5.0, "seconds", "How often clients are told to say it again while somebody types.", gt=0
    )
    typing_people_max: int = setting(10, "accounts", "Told of in one channel; more are of no use to a reader.", ge=1)
    typing_starts_max: int = setting(
        20, "times", "That somebody says so in a row, in all channels together; more are refused.", ge=1
    )
    typing_starts_seconds: float = setting(20.0, "seconds", "In which so many are too many.", gt=0)
