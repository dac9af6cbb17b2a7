"""The state of the sandbox in memory, filled from a seed."""

from collections.abc import Callable
from dataclasses import dataclass, field

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.sandbox.accounts import Directory
from anchore_admission.sandbox.checks import History
from anchore_admission.sandbox.default_policy import DEFAULT_POLICY
from anchore_admission.sandbox.events import EventLog
from anchore_admission.sandbox.faults import Faults
from anchore_admission.sandbox.images import ALREADY, ImageRecord, Images
from anchore_admission.sandbox.policies import Policies
from anchore_admission.sandbox.policy_checks import policy_problems
from anchore_admission.sandbox.policy_dialects import dialect, read_policy
from anchore_admission.sandbox.references import parse
from anchore_admission.sandbox.registry import Registry, content_of, default_name
from anchore_admission.sandbox.responses import AnchoreError
from anchore_admission.sandbox.seed import Messages, Seed, SeedImage, SeedPolicy
from anchore_admission.sandbox.times import epoch

MAX_TENANTS = 2_000


@dataclass(slots=True)
class Tenant:
    """The images, policies and events under one account name; an admin may use a name without an account."""

    images: Images = field(default_factory=Images)
    policies: Policies = field(default_factory=Policies)
    events: EventLog = field(default_factory=EventLog)


@dataclass(slots=True)
class World:
    """The state behind both APIs; every method runs on the one event loop."""

    clock: Callable[[], float]
    analysis_time: float
    registry: Registry
    messages: Messages = field(default_factory=Messages)
    faults: Faults = field(default_factory=Faults)
    directory: Directory = field(default_factory=Directory)
    history: History = field(default_factory=History)
    _tenants: dict[str, Tenant] = field(default_factory=dict)
    _sequence: int = 0

    def next_sequence(self) -> int:
        """Return the next number, to order events within one tick of the clock."""
        self._sequence += 1
        return self._sequence

    def tenant(self, name: str) -> Tenant:
        """Return a tenant for reading; an unknown name is not stored."""
        return self._tenants.get(name) or Tenant()

    def claim(self, name: str) -> Tenant:
        """Return a tenant for writing; it is created if necessary."""
        if name not in self._tenants and len(self._tenants) >= MAX_TENANTS:
            raise AnchoreError(400, f"the sandbox holds at most {MAX_TENANTS} accounts")
        return self._tenants.setdefault(name, Tenant())

    def give_default_policy(self, account: str) -> None:
        policy, document = read_policy(DEFAULT_POLICY, "v1")
        self.claim(account).policies.put(policy, document, self.clock(), active=True)

    def forget(self, account: str) -> None:
        self._tenants.pop(account, None)

    def image_count(self) -> int:
        return sum(len(tenant.images) for tenant in self._tenants.values())


def world_from(seed: Seed, clock: Callable[[], float]) -> World:
    registry = Registry(accepts_unknown=seed.unknown_images == "accept")
    world = World(clock, seed.analysis_time, registry, seed.messages)
    world.faults.replace(seed.faults)
    for account in seed.accounts:
        world.directory.seed(account, clock())
        world.give_default_policy(account.name)
    for policy in seed.policies:
        _hold_policy(world, policy)
    for image in seed.images:
        _hold_image(world, image)
    # last, so that a seed can describe a tag that has moved since Anchore added it
    for entry in seed.registry:
        world.registry.put(entry)
    return world


def _hold_policy(world: World, seeded: SeedPolicy) -> None:
    policy, document = read_policy(seeded.policy, dialect(seeded.policy))
    if problems := policy_problems(policy):
        raise ConfigurationError("the seed", [Problem(f"policies {policy.id}", p["details"]) for p in problems])
    world.claim(seeded.account).policies.put(policy, document, world.clock(), active=seeded.active)


def _hold_image(world: World, image: SeedImage) -> None:
    now = world.clock()
    content = content_of(image, default_name(image.tag[0]), fails_analysis=image.state == "analysis_failed")
    world.registry.hold(image.tag, content)
    images = world.claim(image.account).images
    record = images.exact(content.digest, now)
    if record is None:
        added_at = now if image.analyzed_at is None else epoch(image.analyzed_at)
        record = ImageRecord(image.account, content, added_at, world.next_sequence(), added_at, ALREADY)
        images.add(record)
    record.held = None if image.state in ("analyzed", "analysis_failed") else image.state
    record.annotate(image.annotations)
    for tag in image.tag:
        record.add_tag(parse(tag), now, now, world.next_sequence())
    # Anchore's log begins after what the seed describes.
    record.announced.update(record.tags)
