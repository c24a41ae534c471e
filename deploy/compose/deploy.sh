#!/usr/bin/env bash
# Starts or updates Shoal in containers on this machine, brings a version live, and takes it back when its answers do not come.
# `deploy.sh --help` says how.
set -euo pipefail

usage() {
    cat <<'TXT'
Usage: deploy.sh [VERSION | --latest | --train RATINGS] [FLAGS]   the cluster of compose.yml
       deploy.sh --serve STORE [VERSION] [FLAGS]                  one process that serves a folder of models (compose.serve.yml)

Verifies the version, starts or updates the containers one by one, waits until they are well, brings the version live, and asks
for a list. When the list does not come, or comes from another version, the version before is live again at the end; when a
container of a new image does not get well, the image before runs again. Without VERSION what is live stays live. A second run
changes nothing.

  --latest           the newest version of the model that answers where none is named (of --model, if given)
  --train RATINGS    import this file or folder of ./data (SHOAL_DATA), train ALS on it, and bring that live
  --model MODEL      which model --latest means: als, item_cf, content, ease or hybrid
  --user ID          ask for a list for this user, whom the version has to know; without it user 1 is asked for, and has to be
                     known if the version before knew it
  --image TAG        the image (SHOAL_IMAGE, shoal:latest)
  --timeout SECONDS  how long each wait may take (180)
  --no-verify        bring the version live without reading its files first
  --monitoring       with Prometheus and Grafana too (compose.yml's profile 'monitoring')
  --serve STORE      the folder with models/ and datasets/ (SHOAL_STORE); bringing a version live moves its link model_latest
  --help

Certificates and the first token are made in ./certs (SHOAL_CERTS) if there are none. COMPOSE_PROJECT_NAME and the variables
that the Compose files name hold here too.

Examples:
  deploy/image.sh && deploy/compose/deploy.sh               start the cluster, or take it to a new image
  deploy/compose/deploy.sh --train ml-latest-small          from ratings in deploy/compose/data to an answer
  deploy/compose/deploy.sh als_model_v1_20261124_101500     bring a version live
  deploy/compose/deploy.sh --latest --model als --user 42
  deploy/compose/deploy.sh --serve /srv/shoal/store als_model_v1_20261124_101500

Exit codes: 0 done; 1 it failed, and what was there before answers again; 2 wrong usage; 3 no version of that name, or one that is
not whole, and nothing was changed; 4 no Docker, no image, or what was started does not get well; 5 it failed, and going back
failed too: look at it.
TXT
}

readonly DONE=0 WENT_BACK=1 USAGE=2 NOT_WHOLE=3 UNAVAILABLE=4 STUCK=5

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*"; }
fail() {
    local code=$1
    shift
    printf '%s FAILED: %s\n' "$(date +%H:%M:%S)" "$*" >&2
    exit "$code"
}
wrong() {
    echo "deploy.sh: $*; deploy.sh --help says how it is used" >&2
    exit "$USAGE"
}

# Whatever fails without a word of its own.
set -E
trap 'echo "deploy.sh: stopped at line $LINENO" >&2; exit $STUCK' ERR

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version='' latest='' train='' model='' user='' patience=180 verify=yes serve='' profiles=()
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit "$DONE" ;;
        --latest) latest=yes; shift ;;
        --no-verify) verify=''; shift ;;
        --monitoring) profiles=(--profile monitoring); shift ;;
        --train | --model | --user | --image | --timeout | --serve)
            if [ $# -lt 2 ] || [ -z "$2" ]; then wrong "$1 needs a value"; fi
            case $1 in
                --train) train=$2 ;;
                --model) model=$2 ;;
                --user) user=$2 ;;
                --image) export SHOAL_IMAGE=$2 ;;
                --timeout) patience=$2 ;;
                --serve) serve=$2 ;;
            esac
            shift 2
            ;;
        -*) wrong "there is no flag $1" ;;
        *)
            [ -z "$version" ] || wrong "two versions are named, '$version' and '$1'"
            version=$1
            shift
            ;;
    esac
done
[[ $patience =~ ^[1-9][0-9]{0,4}$ ]] || wrong "--timeout $patience: it is a number of seconds, up to 99999"
[ -z "$version" ] || [ -z "$latest" ] || wrong "a version and --latest are both given"
[ -z "$train" ] || [ -z "$version$latest$serve" ] || wrong "--train goes with no version, --latest or --serve"
[ -z "$model" ] || [ -n "$latest" ] || wrong "--model goes with --latest"
case $model in
    '' | als | item_cf | content | content_based | ease | hybrid) ;;
    *) wrong "there is no model '$model'; there are als, item_cf, content, ease and hybrid" ;;
esac
[[ $version =~ ^[A-Za-z0-9._-]*$ ]] || wrong "'$version' is no name of a version"
[ -z "$serve" ] || [ -z "$latest" ] || wrong "--latest is for the cluster; with --serve name the version"
[ -z "$serve" ] || [ ${#profiles[@]} = 0 ] || wrong "--monitoring is for the cluster"

export SHOAL_IMAGE=${SHOAL_IMAGE:-shoal:latest}
[ -z "$serve" ] || export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-shoal-serve}
export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-shoal}

# ---- Docker

docker info >/dev/null 2>&1 || fail "$UNAVAILABLE" "no Docker answers; is the daemon running, and may you use it (DOCKER_HOST)?"
if docker compose version >/dev/null 2>&1; then
    tool=(docker compose)
elif docker-compose version >/dev/null 2>&1; then
    tool=(docker-compose)
else
    fail "$UNAVAILABLE" "neither 'docker compose' nor 'docker-compose' is there; Debian's package is docker-compose"
fi
docker image inspect "$SHOAL_IMAGE" >/dev/null 2>&1 || docker pull --quiet "$SHOAL_IMAGE" >/dev/null 2>&1 ||
    fail "$UNAVAILABLE" "there is no image '$SHOAL_IMAGE'; deploy/image.sh or docker build -f deploy/Dockerfile makes it"
if [ -z "$serve" ]; then file=$here/compose.yml; else file=$here/compose.serve.yml; fi

# What a container's start prints is noise unless it fails.
compose() { "${tool[@]}" -f "$file" ${profiles[@]+"${profiles[@]}"} "$@"; }
quiet() {
    local said
    said=$("$@" 2>&1) || { printf '%s\n' "$said" >&2; return 1; }
}

# What shoal said of a failure; Compose adds lines of its own.
sentence() { grep -m 1 '^shoal: ' <<<"$1" | sed 's/^shoal: //' || tail -1 <<<"$1"; }

# The text of a key in JSON that shoal has printed: within texts a quote has a backslash before it.
text_of() { sed -nE "s/^(.*[^\\\\])?\"$1\": *\"([^\"\\\\]*)\".*$/\2/; t found; b; :found; p; q"; }

# The container of a service, whether it runs or not; both generations of Compose set these labels.
container() {
    docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --filter "label=com.docker.compose.service=$1" --filter label=com.docker.compose.oneoff=False | head -1
}
is_running() {
    local id
    id=$(container "$1") && [ -n "$id" ] && [ "$(docker inspect --format '{{.State.Running}}' "$id" 2>/dev/null)" = true ]
}

# Waits until a service passes a check of `shoal health`; says what it waited for when it does not.
wait_for() {
    local service=$1 check=$2 until=$((SECONDS + patience)) said='it does not run'
    while [ $SECONDS -lt $until ]; do
        if is_running "$service"; then
            said=$(docker exec "$(container "$service")" /usr/bin/shoal health --for "$check" 2>&1) && return
        fi
        sleep 1
    done
    say "  $service is not well after $patience s: $said"
    docker logs --tail 5 "$(container "$service")" 2>&1 | sed 's/^/    /' || true
    return 1
}

# ---- Images, one container after another

# What containers of now are made of: the image, and each service's settings.
image_now=$(docker image inspect --format '{{.Id}}' "$SHOAL_IMAGE")
hashes_now=''
read_settings() {
    hashes_now=$(compose config --hash '*') || fail "$UNAVAILABLE" "'$file' cannot be read by ${tool[*]}"
}

# The image that ran before an update, by service, for those that were replaced.
declare -A replaced=()

# Waits for a node of the cluster. A router is ready once a version is live, so it has only to start where there is none.
settle() {
    case $1 in
        router-* ) wait_for "$1" "$([ -n "$live" ] && echo readiness || echo startup)" ;;
        * ) wait_for "$1" readiness ;;
    esac
}

# Takes a service to the image and the settings of now; nothing happens where it has both.
update() {
    local service=$1 before image hash
    before=$(container "$service")
    image=$(docker inspect --format '{{.Image}}' "$before" 2>/dev/null || true)
    hash=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.config-hash"}}' "$before" 2>/dev/null || true)
    if [ "$image" = "$image_now" ] && grep -qx "$service $hash" <<<"$hashes_now" && is_running "$service"; then return 0; fi
    quiet compose up -d --no-deps "$service" || return 1
    [ "$before" != "$(container "$service")" ] || return 0
    say "  $service is made anew"
    [ -z "$image" ] || replaced[$service]=$image
    settle "$service"
}

# Takes what was replaced back to its image.
restore_images() {
    local service back=yes
    [ ${#replaced[@]} -gt 0 ] || fail "$UNAVAILABLE" "$1"
    say "going back to the image before"
    for service in "${!replaced[@]}"; do
        # A name keeps the image from being removed as unused.
        docker tag "${replaced[$service]}" "$COMPOSE_PROJECT_NAME-before:latest"
        SHOAL_IMAGE=$COMPOSE_PROJECT_NAME-before:latest quiet compose up -d --no-deps "$service" && settle "$service" || back=''
    done
    [ -n "$back" ] || fail "$STUCK" "$1, nor with the image before: ${tool[*]} -f $file ps shows what runs"
    fail "$WENT_BACK" "$1; the image before runs again"
}

# ---- Answers

# Asks until a list comes from the version, or the time is over. `answered_by` is the version of the last answer, `source` where
# it came from; `refused` says that the question cannot be asked.
ask_until() {
    local wanted=$1 until=$((SECONDS + $2)) said='' unknown=0 code
    shift 2
    answered_by='' source='' refused=''
    while :; do
        code=0
        said=$("$@" 2>&1) || code=$?
        # A question that is refused (exit code 2: --user is no id of this data set) is refused again.
        if [ $code = 2 ]; then
            refused=yes
            break
        fi
        if [ $code = 0 ]; then
            answered_by=$(text_of model_version <<<"$said")
            source=$(text_of source <<<"$said")
            if [ "$answered_by" = "$wanted" ]; then
                case $source in
                    model | cache) return 0 ;;
                    *) [ -n "$must_know" ] || return 0 ;;
                esac
                # The version answers, so waiting longer does not make the user known.
                unknown=$((unknown + 1))
                [ $unknown -lt 3 ] || break
            fi
        fi
        [ $SECONDS -lt $until ] || break
        sleep 1
    done
    if [ -z "$answered_by" ]; then
        why="no answer came: $(sentence "$said")"
    elif [ "$answered_by" != "$wanted" ]; then
        why="the answer comes from '$answered_by' and not from '$wanted'"
    else
        why="'$wanted' does not know user ${user:-1} (source '$source'); --user names one that it has to know"
    fi
    return 1
}

# Whether a command's list is of a user whom the version knows.
is_known() {
    local said
    said=$("$@" 2>/dev/null) || return 1
    [[ $(text_of source <<<"$said") =~ ^(model|cache)$ ]]
}

say_answer() {
    case $source in
        model | cache) say "  $1: a list for user ${user:-1} from $answered_by" ;;
        *) say "  $1: popular items from $answered_by, which does not know user ${user:-1}; --user names one that it has to know" ;;
    esac
}

# ---- One process for a folder of models

if [ -n "$serve" ]; then
    [ -d "$serve/models" ] || fail "$NOT_WHOLE" "'$serve' has no folder models/; --serve names the store that a training wrote"
    SHOAL_STORE=$(cd "$serve" && pwd)
    export SHOAL_STORE

    # shellcheck disable=SC2317  # ask_until calls what it is handed
    ask_shoal() { docker exec "$1" /usr/bin/shoal recommend "${user:-1}" -n 5 --json --url http://127.0.0.1:8000 --model "$kind"; }
    # shellcheck disable=SC2317
    ask_live() { ask_shoal "$(container shoal)"; }

    link='' before='' kind='' must_know=$user live=yes
    if [ -n "$version" ]; then
        folder=$(find "$SHOAL_STORE/models" -mindepth 2 -maxdepth 2 -type d -name "$version" | head -1)
        [ -n "$folder" ] || fail "$NOT_WHOLE" "there is no version '$version' below '$SHOAL_STORE/models'"
        link=$(dirname "$folder")/model_latest
        before=$(readlink "$link" || true)
        kind=$(basename "$(dirname "$folder")")
    else
        for found in "$SHOAL_STORE"/models/*/model_latest; do
            if [ -n "$link" ] || [ ! -e "$found" ]; then continue; fi
            link=$found before=$(readlink "$found") kind=$(basename "$(dirname "$found")")
        done
        [ -n "$before" ] || fail "$NOT_WHOLE" "no model below '$SHOAL_STORE/models' has a link model_latest; name a version"
        version=$before
    fi

    if [ -n "$user" ] || { is_running shoal && is_known ask_live; }; then must_know=yes; fi

    if [ -n "$verify" ]; then
        say "verifying $version: a process of its own reads it and answers"
        trial=$COMPOSE_PROJECT_NAME-trial
        docker rm -f "$trial" >/dev/null 2>&1 || true
        end_trial() { docker rm -f "$trial" >/dev/null 2>&1 || true; }
        trap end_trial EXIT
        quiet compose run -d --no-deps --name "$trial" shoal serve /store --version "$version" ||
            fail "$UNAVAILABLE" "the process could not be started"
        until=$((SECONDS + patience))
        until docker exec "$trial" /usr/bin/shoal health >/dev/null 2>&1; do
            if [ "$(docker inspect --format '{{.State.Running}}' "$trial")" != true ] || [ $SECONDS -ge $until ]; then
                docker logs --tail 3 "$trial" 2>&1 | sed 's/^/    /'
                fail "$NOT_WHOLE" "'$version' cannot be served; nothing was changed"
            fi
            sleep 1
        done
        ask_until "$version" 10 ask_shoal "$trial" || fail "$NOT_WHOLE" "$why; nothing was changed"
        end_trial
        trap - EXIT
        say "  it is whole"
    fi

    # A link is moved by a rename: there is no moment without one.
    move_link() {
        ln -sfn "$1" "$link.new" && mv -fT "$link.new" "$link"
    }
    go_back() {
        if [ -z "$before" ] || [ "$before" = "$version" ]; then fail "$UNAVAILABLE" "$1; there is no version before it to go back to"; fi
        say "going back to $before"
        move_link "$before"
        is_running shoal || quiet compose up -d || fail "$STUCK" "$1, and the container does not start again"
        wait_for shoal readiness || fail "$STUCK" "$1, and with '$before' the container does not get well either"
        must_know=''
        ask_until "$before" "$patience" ask_live || fail "$STUCK" "$1, and then $why"
        say_answer 'answers again'
        fail "$WENT_BACK" "$1; '$before' is live again"
    }

    if [ "$before" != "$version" ]; then
        say "moving $kind's model_latest from ${before:-nothing} to $version"
        move_link "$version" || fail "$UNAVAILABLE" "'$link' cannot be moved; whoever runs this has to be able to write there"
    fi
    say "starting or updating the container"
    read_settings
    replaced=()
    settle() { wait_for shoal readiness; }
    update shoal || { [ ${#replaced[@]} = 0 ] || restore_images "the container does not get well"; go_back "the container does not get well"; }
    wait_for shoal readiness || go_back "the container does not get well"
    say "asking"
    ask_until "$version" "$patience" ask_live || go_back "$why"
    say_answer "http://127.0.0.1:${SHOAL_PORT:-8000}"
    say "done: $version is live"
    exit "$DONE"
fi

# ---- The cluster

readonly COORDINATORS=(coordinator-1 coordinator-2 coordinator-3) WORKERS=(worker-1 worker-2 worker-3) ROUTERS=(router-1 router-2)
readonly NODES=("${COORDINATORS[@]}" "${WORKERS[@]}" "${ROUTERS[@]}")
SHOAL_CERTS=${SHOAL_CERTS:-$here/certs}
mkdir -p "$SHOAL_CERTS"
SHOAL_CERTS=$(cd "$SHOAL_CERTS" && pwd)
export SHOAL_CERTS SHOAL_DATA=${SHOAL_DATA:-$here/data}
mkdir -p "$SHOAL_DATA"
if [ -n "$train" ]; then
    # What the containers see below /data, as one name for './x', 'x/' and 'x'.
    train=$(realpath -s --relative-to="$SHOAL_DATA" "$SHOAL_DATA/$train")
    [[ $train != .. && $train != ../* ]] || wrong "--train names '$train', which is not in '$SHOAL_DATA' (SHOAL_DATA)"
    [ -e "$SHOAL_DATA/$train" ] || fail "$NOT_WHOLE" "there is no '$train' in '$SHOAL_DATA' (SHOAL_DATA); nothing was started"
fi

in_image() { docker run --rm --user 0 -v "$SHOAL_CERTS:/certs" "$SHOAL_IMAGE" "$@"; }
shown=$(in_image certs show /certs 2>/dev/null || true)
if [[ $shown != *worker-1* ]]; then
    say "making certificates in $SHOAL_CERTS; keep ca.key there away from others"
    hosts=localhost,routers$(printf ',%s' "${NODES[@]}")
    quiet in_image certs create --out /certs --owner 65532 --cluster-id movies --routers 2 --hosts "$hosts${SHOAL_HOSTS:+,$SHOAL_HOSTS}" ||
        fail "$UNAVAILABLE" "certificates cannot be made in '$SHOAL_CERTS'"
fi
drawn=$(docker run --rm -v "$SHOAL_CERTS:/certs" "$SHOAL_IMAGE" tokens draw /certs/admin.token 2>&1) || case $drawn in
    *"there is one already"*) ;;
    *) fail "$UNAVAILABLE" "no first token: $drawn" ;;
esac

admin() { compose run --rm --no-deps -T admin "$@"; }
ask_router() { admin recommend "${user:-1}" -n 5 --json --url "https://$1:8000" --model "$kind"; }

# The registry as lines of a version and its state. A version's name begins with its model's.
versions() { admin models list 2>/dev/null | awk '$1 ~ /_model_v/ { print $1, $2 }'; }
live_of() { versions | awk -v model="$1_model_v" 'index($1, model) == 1 && $2 == "live" { print $1 }'; }

# Finds what was asked for in the registry, and reads its files.
find_version() {
    local known default said
    known=$(versions)
    # A command is never cut off by the end of a pipe: that would count as its failure.
    said=$(admin status --json 2>/dev/null) || fail "$UNAVAILABLE" "the cluster does not say how it is: ${tool[*]} -f $file run --rm admin status"
    default=$(text_of default_model <<<"$said")
    if [ -n "$latest" ]; then
        kind=${model:-${default:-als}}
        version=$(awk -v model="${kind/%content/content_based}_model_v" 'index($1, model) == 1 { print $1 }' <<<"$known" | sort | tail -1)
        [ -n "$version" ] || fail "$NOT_WHOLE" "there is no version of the model '$kind'; nothing was brought live"
    elif [ -z "$version" ] && [ -n "$default" ]; then
        version=$(live_of "$default")
    fi
    [ -n "$version" ] || return 0
    kind=${version%%_model_v*}
    grep -qx "$version .*" <<<"$known" ||
        fail "$NOT_WHOLE" "the cluster has no version '$version'; shoal models list shows those that it has. Nothing was brought live"
    before=$(live_of "$kind")
    if [ -n "$user" ] || { [ -n "$before" ] && is_known ask_router routers; }; then must_know=yes; fi
    [ -n "$verify" ] || return 0
    say "verifying $version"
    said=$(admin models verify "$version" --store /store 2>&1) ||
        fail "$NOT_WHOLE" "$(sentence "$said"); nothing was brought live, '${before:-no version}' stays"
    say "  $(grep ' is whole: ' <<<"$said")"
}

kind='' before='' must_know='' live='' is_found=''
is_whole=yes
for node in "${COORDINATORS[@]}" "${WORKERS[@]}"; do is_running "$node" || is_whole=''; done
if [ -n "$is_whole" ] && [ -z "$train" ]; then
    # Of a cluster that runs the version is read before anything is touched.
    find_version
    is_found=yes
fi

say "starting or updating the containers from $SHOAL_IMAGE"
read_settings
quiet compose up -d --no-recreate "${NODES[@]}" || fail "$UNAVAILABLE" "the containers do not start"
for node in "${COORDINATORS[@]}" "${WORKERS[@]}"; do
    wait_for "$node" readiness || fail "$UNAVAILABLE" "the cluster does not get well"
done
live=$(versions | awk '$2 == "live" { print $1 }')
for node in "${NODES[@]}"; do
    update "$node" || restore_images "$node does not get well"
done
for node in "${ROUTERS[@]}"; do
    settle "$node" || restore_images "$node does not get well"
done
[ ${#profiles[@]} = 0 ] || quiet compose up -d prometheus grafana || fail "$UNAVAILABLE" "Prometheus and Grafana do not start"
say "  all ${#NODES[@]} nodes are well"

if [ -n "$train" ]; then
    # A name that a data set may have: 'ML-20M/Ratings (1).csv' becomes 'ratings-1'.
    name=$(basename "$train")
    [ -d "$SHOAL_DATA/$train" ] || name=${name%%.*}
    name=$(tr '[:upper:]' '[:lower:]' <<<"$name" | tr -cs 'a-z0-9_\n' - | sed 's/^[-_]*//; s/-*$//' | cut -c1-64)
    name=${name:-ratings}
    say "importing $train as the data set '$name'"
    said=$(admin dataset import "/data/$train" --name "$name" 2>&1) || fail "$NOT_WHOLE" "$(sentence "$said")"
    say "  $(grep '^rows ' <<<"$said")"
    say "training ALS on it"
    said=$(admin train --dataset "$name" --models als --force 2>&1) || fail "$NOT_WHOLE" "$(sentence "$said")"
    version=$(sed -nE 's/^Trained ([^ ]+) in .*/\1/p' <<<"$said")
    say "  $version"
    is_found=''
fi
[ -n "$is_found" ] || find_version
if [ -z "$version" ]; then
    say "done: no version is live yet. ${tool[*]} -f $file run --rm admin train --dataset NAME --promote trains one, and so does --train"
    exit "$DONE"
fi

# Every router has to answer from a version.
ask_all() {
    local router
    for router in "${ROUTERS[@]}"; do
        ask_until "$1" "$patience" ask_router "$router" || return 1
        say_answer "$router"
    done
}
go_back() {
    [ -n "$before" ] || fail "$STUCK" "$1; no version was live before it, so it stays"
    say "$1"
    say "going back to $before"
    quiet admin models rollback --model "$kind" || fail "$STUCK" "$1, and the rollback fails"
    must_know=''
    ask_all "$before" || fail "$STUCK" "$1, and after the rollback $why"
    fail "$WENT_BACK" "$1; '$before' is live again"
}

if [ "$before" = "$version" ]; then
    say "$version is live already; asking"
    ask_all "$version" || {
        # A version that answers, though not as --user wants it, is as it was.
        if [ -n "$refused" ]; then
            code=$USAGE
        elif [ "$answered_by" = "$version" ]; then
            code=$WENT_BACK
        else
            code=$STUCK
        fi
        fail "$code" "$why; '$version' stays live"
    }
    say "done: nothing had to be changed of what is live"
    exit "$DONE"
fi
say "promoting $version (live: ${before:-none})"
if ! said=$(admin models promote "$version" 2>&1); then
    why=$(sentence "$said")
    [ -n "$before" ] || fail "$WENT_BACK" "$why"
    must_know=''
    version_now=$(live_of "$kind")
    [ "$version_now" = "$before" ] || fail "$STUCK" "$why; live is '${version_now:-nothing}'"
    failure=$why
    ask_all "$before" || fail "$STUCK" "$failure, and then $why"
    why=$failure
    fail "$WENT_BACK" "$why"
fi
say "asking"
ask_all "$version" || go_back "$why"
say "done: $version is live"
