# A Docker engine of the run's own, for the step "SAM local" of .ci/run, which sources this. Its data,
# socket and bridge are its own, and it changes no firewall: an engine of the machine's goes on beside it.

# Where its images stay for the next run.
docker_data=$PWD/target/docker
# The root file system of the image, until an engine has it.
docker_root=$PWD/target/docker-root.tar
docker_bridge=hindsight-ci
# The bridge's address, of a network that this machine is not in: free_network chooses it.
docker_gateway=
docker_image=public.ecr.aws/lambda/provided:al2023-x86_64

# Says why no engine can run here, if none can. Whatever else goes wrong is a failure.
no_docker() {
    if [[ $(uname -sm) != "Linux x86_64" ]]; then
        printf 'it needs Linux on x86_64, and this is %s' "$(uname -sm)"
    elif ((EUID != 0)); then
        printf 'a Docker engine needs root'
    elif ! unshare --mount --net --pid --fork true 2>/dev/null; then
        printf 'this kernel gives no namespaces, or this container may not make any'
    elif [[ ! -e /sys/fs/cgroup/cgroup.controllers && ! -d /sys/fs/cgroup/memory ]]; then
        printf 'no control groups are mounted'
    elif ! have_docker && ! command -v apt-get >/dev/null; then
        printf 'dockerd, docker, debootstrap or ip is not installed, and there is no apt-get to install them'
    else
        return 1
    fi
}

have_docker() {
    local command
    for command in dockerd docker debootstrap ip; do
        command -v "$command" >/dev/null || return 1
    done
}

# Installs what is missing, and lets no service of it start. An engine from elsewhere stays: docker.io would conflict
# with it.
install_docker() {
    have_docker && return
    local policy=/usr/sbin/policy-rc.d status=0 packages=(debootstrap iproute2)
    command -v dockerd >/dev/null && command -v docker >/dev/null || packages+=(docker.io)
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    else
        policy=""
    fi
    {
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
    } >"$logs/apt.log" 2>&1 || status=$?
    [[ -z $policy ]] || rm "$policy"
    ((status == 0)) || cat "$logs/apt.log"
    return "$status"
}

# Chooses a network for the bridge from the block for tests between devices (RFC 2544), which is not
# routed on the Internet. Containers are not reached if this machine has the network elsewhere too.
free_network() {
    local network
    for network in 198.18.{1..255}; do
        if [[ -z $(ip -4 route show to match "$network.0/24" | grep -v '^default') &&
            -z $(ip -4 route show root "$network.0/24") ]]; then
            docker_gateway=$network.1
            return
        fi
    done
    printf 'every network of 198.18.0.0/16 is in use on this machine\n'
    return 1
}

# Starts the engine; DOCKER_HOST says where it is.
start_docker() {
    # One that a run left behind which was killed.
    ip link delete "$docker_bridge" 2>/dev/null || true
    free_network
    # An earlier engine's bridge is kept here, and its address is given to this one's.
    rm -rf "$docker_data/network"
    if ! ip link add "$docker_bridge" type bridge; then
        printf 'the kernel makes no bridge\n'
        return 1
    fi
    ip address add "$docker_gateway/24" dev "$docker_bridge"
    ip link set "$docker_bridge" up
    export DOCKER_HOST=unix://$logs/docker.sock
    start docker dockerd --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
        --bridge "$docker_bridge" --storage-driver=vfs --log-level=warn \
        --data-root "$docker_data" --exec-root "$logs/docker-exec" --pidfile "$logs/docker.pid" --host "$DOCKER_HOST"
    for _ in {1..600}; do
        if docker info >/dev/null 2>&1; then
            return
        fi
        kill -0 "${running[docker]}" 2>/dev/null || break
        sleep 0.2
    done
    cat "$logs/docker.log"
    printf 'the Docker engine did not start\n'
    return 1
}

stop_docker() {
    local containers
    # SAM asks for their removal as it ends. One that is being removed already is waited for.
    for _ in {1..120}; do
        containers=$(docker ps --quiet --all)
        [[ -n $containers ]] || break
        # shellcheck disable=SC2086 # One word for each.
        docker rm --force $containers >"$logs/docker-rm.log" 2>&1 || sleep 1
    done
    if [[ -n $containers ]]; then
        cat "$logs/docker-rm.log"
        printf 'containers that cannot be removed: %s\n' "$containers"
        return 1
    fi
    stop docker
    ip link delete "$docker_bridge"
}

# Installs what an engine needs, and makes the image's root file system. No engine runs yet, so that this can be
# done while cargo compiles.
prepare_image() {
    install_docker
    # An engine that was here before has the image.
    [[ -d $docker_data/image ]] || make_root
}

# The image's root file system, which stands in for Lambda's image, which is not pulled: the distribution of this
# machine, whose C library the functions' binaries were linked with, and the trusted roots where Lambda has them.
make_root() {
    [[ ! -e $docker_root ]] || return 0
    local root=$logs/root mirror codename
    codename=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
    # From where this machine has its packages.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Release: $codename" | sed -n 1p)
    if ! debootstrap --variant=minbase --include=ca-certificates "$codename" "$root" "$mirror" >"$logs/debootstrap.log" 2>&1; then
        tail -n 20 "$logs/debootstrap.log" "$root/debootstrap/debootstrap.log" || true
        return 1
    fi
    mkdir -p "$root/etc/pki/tls/certs"
    cp "$root/etc/ssl/certs/ca-certificates.crt" "$root/etc/pki/tls/certs/ca-bundle.crt"
    # Every container gets a copy of it.
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,info,locale,man}/*
    tar -C "$root" -c . >"$docker_root.part"
    mv "$docker_root.part" "$docker_root"
    rm -rf "$root"
}

make_image() {
    docker image inspect "$docker_image" >/dev/null 2>&1 && return
    make_root
    docker import "$docker_root" "$docker_image" >/dev/null
    rm "$docker_root"
}
