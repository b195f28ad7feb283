#!/usr/bin/env bash
# Run a program of PySpark on an EMR cluster, and wait for it.
#
# usage: add_step.sh CLUSTER BUCKET PROGRAM [ARGUMENT...]
set -euo pipefail

cluster=${1:?"usage: add_step.sh CLUSTER BUCKET PROGRAM [ARGUMENT...]"}
bucket=${2:?"usage: add_step.sh CLUSTER BUCKET PROGRAM [ARGUMENT...]"}
program=${3:?"usage: add_step.sh CLUSTER BUCKET PROGRAM [ARGUMENT...]"}
name=$(basename "$program")
aws s3 cp --quiet "$program" "s3://$bucket/ridge/$name"
arguments="--deploy-mode,client,s3://$bucket/ridge/$name"
for argument in "${@:4}"; do
    arguments+=",$argument"
done
step=$(aws emr add-steps --cluster-id "$cluster" \
    --steps "Type=Spark,Name=$name,ActionOnFailure=CONTINUE,Args=[$arguments]" \
    --query 'StepIds[0]' --output text)
echo "step $step"
aws emr wait step-complete --cluster-id "$cluster" --step-id "$step"
