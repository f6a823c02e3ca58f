# shellcheck shell=bash
# An S3 server beside the rest of the world, and boto3 to look at it. For the scenarios about storage.
# shellcheck source=/dev/null
source "$HERE/boto3.sh"

"$ROOT/hack/s3/start" "$RUN" >/dev/null 2>&1
source "$RUN/env"
export IAM_ENDPOINT

# root CALL ARGUMENT...: with the platform's key.
root()
{
    AWS_ENDPOINT_URL_S3=$S3_ENDPOINT AWS_ACCESS_KEY_ID=$S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$S3_SECRET_KEY "$RUN/venv/bin/python" "$HERE/s3.py" "$@"
}
