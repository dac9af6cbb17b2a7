# shellcheck shell=bash disable=SC2034
# Where the scripts of this folder keep what they make, and how they reach podman's store: one of its own.
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/anchore-admission/image
IMAGE_NAME=localhost/anchore-admission:ci
IMAGE_ARCHIVE=$CACHE/anchore-admission.tar
IMAGE_SBOM=$CACHE/anchore-admission.cdx.json
IMAGE_MADE_FROM=$CACHE/anchore-admission.made-from # what made_from said when the archive was made
export TMPDIR=$CACHE/tmp
STORE=(--root "$CACHE/store" --runroot "$CACHE/run" --storage-driver overlay)
LIMITS=(--ulimit nofile=4096:4096 --ulimit nproc=4096:4096) # podman's own are more than may be set here
mkdir -p "$TMPDIR"

# A digest of the names and contents of what this checkout's image is made from; from its root.
made_from() {
    find Dockerfile .dockerignore LICENSE README.md pyproject.toml requirements.txt requirements-build.txt src tools/image \
        -type f ! -path '*/__pycache__/*' ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

# Whether the archive holds the image of this checkout as it is now.
is_current() {
    [ -e "$IMAGE_ARCHIVE" ] && [ -e "$IMAGE_MADE_FROM" ] && [ "$(cat "$IMAGE_MADE_FROM")" = "$(made_from)" ]
}

# Ends the script where something is missing: a failure only when the image is required (IMAGE=required).
skip() {
    echo "SKIPPED: $*" >&2
    [ "${IMAGE:-}" != required ] || exit 1
    exit 0
}
