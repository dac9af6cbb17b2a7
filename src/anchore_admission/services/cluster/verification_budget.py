"""Divide the verifications of unknown tokens among callers, so that strangers cannot keep a real caller out.

Anyone who reaches the port can make tokens up, and the API server must not pay for each of them. A caller whose tokens
were accepted before has an allowance of its own. All others share one, by address and by network; a part of it is for
addresses that ask rarely, so that hundreds of others that ask all the time leave room for a caller that begins to.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, Generic, TypeVar

ADDRESS_BURST: Final = 20.0
ADDRESS_PER_SECOND: Final = 5.0
"""The most verifications for one address."""
NETWORK_BURST: Final = 25.0
NETWORK_PER_SECOND: Final = 5.0
"""The most for one network: a host may have all addresses of a /64, a node's Pods often those of a /24."""
BURST: Final = 50.0
PER_SECOND: Final = 12.5
"""The most for all strangers together, and as many for those that ask rarely."""
RARE_SECONDS: Final = 60.0
"""Seconds after which an address asks rarely: its next verification is not one of those that all share."""
CALLER_SECONDS: Final = 24 * 3600.0
"""Seconds for which the address of an accepted token is that of a known caller; engines renew theirs every hour."""
ADDRESSES: Final = 4096
NETWORKS: Final = 1024
CALLERS: Final = 512
"""The most addresses, networks and known callers that are counted; the latest ones stay."""

RecordT = TypeVar("RecordT")


@dataclass(slots=True)
class _Allowance:
    """The verifications that may begin now; their number grows with time, up to ``burst``."""

    burst: float
    per_second: float
    counted_at: float
    left: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.burst

    def allows_one(self, now: float) -> bool:
        """Return whether one more may begin."""
        self.left = min(self.burst, self.left + (now - self.counted_at) * self.per_second)
        self.counted_at = now
        return self.left >= 1


@dataclass(slots=True)
class _Share:
    """The verifications of an address, of a network, or of all: those for rare ones, and any."""

    rare: _Allowance
    any: _Allowance


class _Latest(Generic[RecordT]):
    """A record for each of the latest names."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._records: OrderedDict[str, RecordT] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def get(self, name: str) -> RecordT | None:
        return self._records.get(name)

    def put(self, name: str, record: RecordT) -> RecordT:
        """Keep a record as the latest one, and forget the earliest if there are too many."""
        self._records[name] = record
        self._records.move_to_end(name)
        if len(self._records) > self._most:
            self._records.popitem(last=False)
        return record


class VerificationBudget:
    """The verifications that may begin. Times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._in_all = _Share(_Allowance(BURST, PER_SECOND, now), _Allowance(BURST, PER_SECOND, now))
        self._addresses: _Latest[_Share] = _Latest(ADDRESSES)
        self._networks: _Latest[_Share] = _Latest(NETWORKS)
        self._callers: _Latest[float] = _Latest(CALLERS)

    def accepted(self, address: str, now: float) -> None:
        """Record that a token from this address was accepted."""
        self._callers.put(address, now)

    def takes_one(self, address: str, now: float) -> bool:
        """Return whether a token from this address may be verified, which then counts."""
        own = self._addresses.put(address, self._addresses.get(address) or _of_address(now))
        accepted_at = self._callers.get(address)
        if accepted_at is not None and now - accepted_at < CALLER_SECONDS:
            return _take([own.any], now)
        name = network_of(address)
        network = self._networks.put(name, self._networks.get(name) or _of_network(now))
        levels = (own, network, self._in_all)
        return _take([level.rare for level in levels], now) or _take([level.any for level in levels], now)


def _of_address(now: float) -> _Share:
    return _Share(_Allowance(1, 1 / RARE_SECONDS, now), _Allowance(ADDRESS_BURST, ADDRESS_PER_SECOND, now))


def _of_network(now: float) -> _Share:
    return _Share(
        _Allowance(NETWORK_BURST, NETWORK_PER_SECOND, now), _Allowance(NETWORK_BURST, NETWORK_PER_SECOND, now)
    )


def _take(allowances: list[_Allowance], now: float) -> bool:
    """Take one from all of these, or from none."""
    if not all([allowance.allows_one(now) for allowance in allowances]):  # noqa: C419 - each one grows with time
        return False
    for allowance in allowances:
        allowance.left -= 1
    return True


@lru_cache(maxsize=ADDRESSES)
def network_of(address: str) -> str:
    """Return the /24 or /64 of an address; a text that is none is its own network."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return str(ip_network((found, 64 if isinstance(found, IPv6Address) else 24), strict=False))
