#!/usr/bin/env bash
# Start an EMR cluster whose nodes have parallel_ridge, and print its id.
#
# usage: create_cluster.sh BUCKET [SPARK [PROCESSOR [NODES]]]
#   BUCKET     of yours, without s3://
#   SPARK      3.5 (EMR 7) or 4 (EMR 8); 3.5 if it is not given
#   PROCESSOR  x86-64 or graviton; x86-64 if it is not given
#   NODES      one of them is the primary node; 4 if it is not given
# environment:
#   PACKAGE    what pip installs on the nodes; parallel-ridge if it is not set
set -euo pipefail

bucket=${1:?"usage: create_cluster.sh BUCKET [SPARK [PROCESSOR [NODES]]]"}
case ${2:-3.5} in
    3.5) release=emr-7.10.0 ;;
    4) release=emr-spark-8.0.0 ;;
    *) echo "SPARK is 3.5 or 4, not $2" >&2 && exit 2 ;;
esac
case ${3:-x86-64} in
    x86-64) instance=m6i.xlarge ;;
    graviton) instance=m7g.xlarge ;; # the kernels have an ARM level for bytes
    *) echo "PROCESSOR is x86-64 or graviton, not $3" >&2 && exit 2 ;;
esac

here=$(dirname "$0")
aws s3 cp --quiet "$here/bootstrap.sh" "s3://$bucket/ridge/bootstrap.sh"
aws emr create-cluster \
    --name ridge \
    --release-label "$release" \
    --applications Name=Spark \
    --instance-type "$instance" \
    --instance-count "${4:-4}" \
    --use-default-roles \
    --bootstrap-actions "Path=s3://$bucket/ridge/bootstrap.sh,Args=[${PACKAGE:-parallel-ridge}]" \
    --configurations "file://$here/configuration.json" \
    --log-uri "s3://$bucket/logs/" \
    --auto-termination-policy IdleTimeout=3600 \
    --query ClusterId --output text
