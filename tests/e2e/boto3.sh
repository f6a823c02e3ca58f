# shellcheck shell=bash
# boto3, an independent client of S3, and what it takes to look with a tenant's own key.

if ! "$RUN/venv/bin/python" -c 'import boto3' 2>/dev/null; then
    python3 -m venv "$RUN/venv"
    "$RUN/venv/bin/pip" --quiet --disable-pip-version-check install 'boto3>=1.35,<2'
fi

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

