#!/usr/bin/env bash
# A tour of the service by curl: every step prints what it does and what came back.
#
#   bash curl.sh FOLDER [STREAM]
#
# FOLDER holds at least 24 images. SERVER is the address of the service (http://127.0.0.1:8700), RARECLIP_API_KEY a key of scope
# admin where the service has keys. The stream is deleted at the end.
set -euo pipefail

FOLDER=${1:?usage: bash curl.sh FOLDER [STREAM]}
STREAM=${2:-tour}
SERVER=${SERVER:-http://127.0.0.1:8700}
BASE=$SERVER/v1/streams/$STREAM

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# The key goes into a file that only we can read: what stands on a command line, every user of the machine can read.
umask 077
: > "$WORK/key"
if [ -n "${RARECLIP_API_KEY:-}" ]; then
    echo "Authorization: Bearer $RARECLIP_API_KEY" > "$WORK/key"
fi

IMAGES=()
while IFS= read -r image; do IMAGES+=("$image"); done \
    < <(find "$FOLDER" -type f \( -iname '*.png' -o -iname '*.jpg' -o -iname '*.jpeg' \) | LC_ALL=C sort)
if [ ${#IMAGES[@]} -lt 24 ]; then
    echo "$FOLDER holds ${#IMAGES[@]} images; the tour needs 24" >&2
    exit 2
fi

step() { printf '\n== %s\n' "$*"; }

# Fails with the service's own words when the answer is not a good one; busy (429) and going down (503) are tried again.
call() { curl --silent --show-error --fail-with-body --retry 5 -H @"$WORK/key" "$@"; }

# The number that a field has in a JSON answer.
number() { sed -n "s/.*\"$1\":\([-0-9.e]*\).*/\1/p"; }

type_of() {
    case "$1" in
        *.[pP][nN][gG]) echo image/png ;;
        *) echo image/jpeg ;;
    esac
}

step "Create a stream"
call "$SERVER/v1/streams" -H 'Content-Type: application/json' -d "{\"name\":\"$STREAM\"}"

step "Post one image as it is, under a key of its own"
first=${IMAGES[0]}
call "$BASE/images?image=first" -H "Content-Type: $(type_of "$first")" -H 'Idempotency-Key: tour/first' --data-binary @"$first"

step "The same key again: the same answer, and the image is not counted twice"
call "$BASE/images?image=first" -H "Content-Type: $(type_of "$first")" -H 'Idempotency-Key: tour/first' --data-binary @"$first"

step "Post two as a form"
call "$BASE/images" -F "images=@${IMAGES[1]}" -F "images=@${IMAGES[2]}" -H 'Idempotency-Key: tour/form'

step "Post one as base64 in JSON"
# By way of a file: an image does not fit on a command line.
printf '{"images":[{"image":"fourth","key":"tour/fourth","data":"%s"}]}' "$(base64 < "${IMAGES[3]}" | tr -d '\n')" > "$WORK/body"
call "$BASE/images" -H 'Content-Type: application/json' --data-binary @"$WORK/body"

step "Look only: update=false leaves no trace"
call "$BASE/images?update=false" -H 'Content-Type: application/octet-stream' --data-binary @"$first"

step "The others, until the stream is calibrated"
for at in $(seq 4 23); do
    answer=$(call "$BASE/images?image=$at" -H 'Content-Type: application/octet-stream' -H "Idempotency-Key: tour/$at" \
        --data-binary @"${IMAGES[$at]}")
    id=$(printf '%s' "$answer" | number id)
    score=$(printf '%s' "$answer" | number score)
done
printf '%s\n' "$answer"

step "The map as the answer: heatmap (PNG) and numbers (NPY), the JSON in a header"
call "$BASE/images?update=false" -H 'Accept: image/png' -H 'Content-Type: application/octet-stream' --data-binary @"$first" \
    -D "$WORK/headers" -o "$WORK/heatmap.png"
grep -i '^rareclip-result:' "$WORK/headers"
call "$BASE/images?update=false&map=npy" -H 'Content-Type: application/octet-stream' --data-binary @"$first" -o "$WORK/map.npy"

step "The map of result $id, and the picture under it"
call "$BASE/results/$id/overlay?opacity=0.4" -o "$WORK/overlay.png"
call "$BASE/results/$id/map" -o "$WORK/map-of-result.npy"
for file in "$WORK"/*.png "$WORK"/*.npy; do
    printf '%s: %s bytes\n' "${file##*/}" "$(wc -c < "$file" | tr -d ' ')"
done

step "The history: the newest two, then what came after result 22"
call "$BASE/results?limit=2"
echo
call "$BASE/results?after=22"

step "What the threshold $score would do"
call "$BASE/threshold/preview?threshold=$score"

step "Set it"
call -X PUT "$BASE/threshold" -H 'Content-Type: application/json' -d "{\"type\":\"fixed\",\"threshold\":$score}"

step "Say what result $id was"
call -X PUT "$BASE/results/$id/feedback" -H 'Content-Type: application/json' -d '{"label":"normal","note":"a shadow"}'

step "Calibrate by what no one called a defect: 1 false alarm in 5 normals"
call "$BASE/calibrate" -H 'Content-Type: application/json' -d '{"by":"history","rate":0.2,"last":1000}'

step "Keep a snapshot, freeze, go back, unfreeze"
snapshot=$(call -X POST "$BASE/snapshot" -H 'Content-Type: application/json' -d '{"note":"after the tour"}')
printf '%s\n' "$snapshot"
call -X POST "$BASE/freeze" -o "$WORK/answer"
call "$BASE/restore" -H 'Content-Type: application/json' -d "{\"snapshot\":$(printf '%s' "$snapshot" | number id)}" -o "$WORK/answer"
call -X POST "$BASE/unfreeze"

step "Export the state and import it again"
call "$BASE/export" -o "$WORK/tour.state"
call "$BASE/import" -H 'Content-Type: application/octet-stream' --data-binary @"$WORK/tour.state"

step "Events since result 22, for two seconds"
# They go on until we hang up, which curl calls a timeout (28).
call --no-buffer --retry 0 --max-time 2 "$BASE/events" -H 'Last-Event-ID: 22' 2> "$WORK/hung-up" || [ $? -eq 28 ]

step "Metrics of this stream"
call "$SERVER/metrics" -o "$WORK/metrics"
grep "stream=\"$STREAM\"" "$WORK/metrics" | grep -v bucket

step "The Open Inference Protocol: the model is the detector, the sequence the stream"
model=$(call "$BASE" | sed -n 's/.*"detector":"\([^"]*\)".*/\1/p')
printf '{"id":"by-v2","parameters":{"sequence_id":"%s","update":false},"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["%s"]}]}' \
    "$STREAM" "$(base64 < "$first" | tr -d '\n')" > "$WORK/body"
call "$SERVER/v2/models/$model/infer" -H 'Content-Type: application/json' --data-binary @"$WORK/body"

step "Delete the stream"
call -X DELETE "$BASE"
printf '\nThe tour is done.\n'
