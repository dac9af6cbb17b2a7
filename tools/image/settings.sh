# shellcheck shell=bash disable=SC2034
# Where the scripts of this folder keep what they make, and how they reach podman's store: one of its own.
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/anchore-admission/image
IMAGE_NAME=localhost/anchore-admission:ci
IMAGE_ARCHIVE=$CACHE/anchore-admission.tar
IMAGE_SBOM=$CACHE/anchore-admission.cdx.json
export TMPDIR=$CACHE/tmp
STORE=(--root "$CACHE/store" --runroot "$CACHE/run" --storage-driver overlay)
LIMITS=(--ulimit nofile=4096:4096 --ulimit nproc=4096:4096) # podman's own are more than may be set here
mkdir -p "$TMPDIR"

# Ends the script where something is missing: a failure only when the image is required (IMAGE=required).
skip() {
    echo "SKIPPED: $*" >&2
    [ "${IMAGE:-}" != required ] || exit 1
    exit 0
}
