#!/usr/bin/env python3
"""boto3, as an independent client, for storage.sh: s3.py CALL ARGUMENT..., with the endpoint and key of the environment.

Prints what a check wants to see on one line; a refusal prints its code and fails.
"""
import json
import os
import sys

import boto3
import botocore.config
import botocore.exceptions

CONFIG = botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})


def client(service="s3"):
    endpoint = os.environ["AWS_ENDPOINT_URL_S3" if service == "s3" else "IAM_ENDPOINT"]
    return boto3.client(service, endpoint_url=endpoint, region_name=os.environ.get("AWS_REGION", "us-east-1"), config=CONFIG)


def put(bucket, key, size):
    client().put_object(Bucket=bucket, Key=key, Body=b"x" * int(size))
    return "put"


def get(bucket, key):
    return len(client().get_object(Bucket=bucket, Key=key)["Body"].read())


def fetch(bucket, key, file):
    client().download_file(bucket, key, file)
    return "fetched"


def delete(bucket, key):
    client().delete_object(Bucket=bucket, Key=key)
    return "deleted"


def keys(bucket):
    return " ".join(item["Key"] for item in client().list_objects_v2(Bucket=bucket).get("Contents", []))


def versions(bucket):
    answer = client().list_object_versions(Bucket=bucket)
    return f"{len(answer.get('Versions', []))} {len(answer.get('DeleteMarkers', []))}"


def buckets(prefix):
    return " ".join(sorted(b["Name"] for b in client().list_buckets()["Buckets"] if b["Name"].startswith(prefix)))


def tags(bucket):
    pairs = client().get_bucket_tagging(Bucket=bucket)["TagSet"]
    return " ".join(sorted(f"{pair['Key']}={pair['Value']}" for pair in pairs))


def versioning(bucket):
    return client().get_bucket_versioning(Bucket=bucket).get("Status", "")


def create(bucket):
    client().create_bucket(Bucket=bucket)
    return "created"


def upload(bucket, key):
    """Begin a multipart upload and leave it so."""
    return "begun" if client().create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] else ""


def policy(bucket):
    return client().get_bucket_policy(Bucket=bucket)["Policy"]


def resources(user):
    """The ARNs that the user's policy names, each once."""
    document = client("iam").get_user_policy(UserName=user, PolicyName="tenantry")["PolicyDocument"]
    return " ".join(sorted({arn for statement in document["Statement"] for arn in statement["Resource"]}))


def access_keys(user):
    found = client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
    return " ".join(sorted(key["Status"] for key in found))


def leak_key(user):
    """As a controller would that dies before it writes the Secret."""
    return "made" if client("iam").create_access_key(UserName=user)["AccessKey"]["AccessKeyId"] else ""


def lifecycle(bucket):
    """What each rule does, and after how many days."""
    rules = client().get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    days = [rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for rule in rules]
    return " ".join(f"uploads:{n}" for n in days)


def uploads(bucket):
    return len(client().list_multipart_uploads(Bucket=bucket).get("Uploads", []))


def users(prefix):
    return " ".join(sorted(u["UserName"] for u in client("iam").list_users()["Users"] if u["UserName"].startswith(prefix)))


def hold(bucket, key, status):
    """Keep anybody from deleting what an object is now, or let them."""
    s3 = client()
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    s3.put_object_legal_hold(Bucket=bucket, Key=key, LegalHold={"Status": status})
    return s3.get_object_legal_hold(Bucket=bucket, Key=key)["LegalHold"]["Status"]


def make_user(user, *names):
    """A user with a key of its own, as a platform makes one that keeps its accounts itself. Prints the key."""
    iam = client("iam")
    iam.create_user(UserName=user)
    arns = [f"arn:aws:s3:::{name}{suffix}" for name in names for suffix in ("", "/*")]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": arns}]}
    iam.put_user_policy(UserName=user, PolicyName="own", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return f"{key['AccessKeyId']} {key['SecretAccessKey']}"


def main():
    try:
        print(globals()[sys.argv[1]](*sys.argv[2:]))
    except botocore.exceptions.ClientError as refusal:
        print(refusal.response["Error"]["Code"])
        sys.exit(1)


main()
