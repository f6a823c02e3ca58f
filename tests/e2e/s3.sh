# shellcheck shell=bash
# An S3 server beside the rest of the world, and boto3 to look at it. For the scenarios about storage.

if ! "$RUN/venv/bin/python" -c 'import boto3' 2>/dev/null; then
    python3 -m venv "$RUN/venv"
    "$RUN/venv/bin/pip" --quiet --disable-pip-version-check install 'boto3>=1.35,<2'
fi
"$ROOT/hack/s3/start" "$RUN" >/dev/null 2>&1
source "$RUN/env"
export IAM_ENDPOINT

# root CALL ARGUMENT...: with the platform's key.
root()
{
    AWS_ENDPOINT_URL_S3=$S3_ENDPOINT AWS_ACCESS_KEY_ID=$S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$S3_SECRET_KEY "$RUN/venv/bin/python" "$HERE/s3.py" "$@"
}

# key NAME: the tenant's, as its Secret says it, for `with`.
key()
{
    kubectl get secret --namespace "tenant-$1" "$1-storage" --output json |
        jq -r '.data | map_values(@base64d) | "\(.AWS_ENDPOINT_URL_S3) \(.AWS_ACCESS_KEY_ID) \(.AWS_SECRET_ACCESS_KEY)"'
}

# with KEY CALL ARGUMENT...
with()
{
    local endpoint id secret
    read -r endpoint id secret <<<"$1"
    shift
    AWS_ENDPOINT_URL_S3=$endpoint AWS_ACCESS_KEY_ID=$id AWS_SECRET_ACCESS_KEY=$secret "$RUN/venv/bin/python" "$HERE/s3.py" "$@"
}

