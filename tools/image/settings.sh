# shellcheck shell=bash disable=SC2034
# Paths that the scripts of this folder share, and options for a podman store of their own.
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/anchore-admission/image
IMAGE_NAME=localhost/anchore-admission:ci
IMAGE_ARCHIVE=$CACHE/anchore-admission.tar
IMAGE_SBOM=$CACHE/anchore-admission.cdx.json
IMAGE_MADE_FROM=$CACHE/anchore-admission.made-from # the digest of the sources that the archive was built from
export TMPDIR=$CACHE/tmp
STORE=(--root "$CACHE/store" --runroot "$CACHE/run" --storage-driver overlay)
LIMITS=(--ulimit nofile=4096:4096 --ulimit nproc=4096:4096) # podman's defaults exceed what a container may set
mkdir -p "$TMPDIR"

# Print a digest of the image's sources in this checkout; run from its root.
made_from() {
    find Dockerfile .dockerignore LICENSE README.md pyproject.toml requirements.txt requirements-build.txt src tools/image \
        -type f ! -path '*/__pycache__/*' ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

# Succeed if the archive was built from this checkout as it is now.
is_current() {
    [ -e "$IMAGE_ARCHIVE" ] && [ -e "$IMAGE_MADE_FROM" ] && [ "$(cat "$IMAGE_MADE_FROM")" = "$(made_from)" ]
}

# Skip the rest because a tool is missing; a failure only if the image is required (IMAGE=required).
skip() {
    echo "SKIPPED: $*" >&2
    [ "${IMAGE:-}" != required ] || exit 1
    exit 0
}
