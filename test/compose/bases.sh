#!/usr/bin/env bash
# Makes stand-ins for the public images that the stack is built of and runs with, from
# the programs of this Debian: for machines that cannot pull. Each has the paths,
# the user and the way to start of the public one, and nothing else.
#
#   bases.sh FOLDER [IMAGES]     FOLDER is for the modules of Go, and kept for the next run
set -euo pipefail
docker=${DOCKER:-docker}
keep=$1
here=$(cd "$(dirname "$0")" && pwd)
module=$(cd "$here/../.." && pwd)
for program in busybox /usr/sbin/haproxy initdb:/usr/lib/postgresql/*/bin/initdb /usr/bin/redis-server /usr/bin/prometheus; do
	command -v "${program%%:*}" >/dev/null || ls ${program#*:} >/dev/null 2>&1 || missing+=" ${program##*/}"
done
if [ -n "${missing-}" ]; then
	echo "the stand-ins for public images are made of programs that are not here:$missing (Debian: busybox haproxy postgresql redis-server prometheus)" >&2
	exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# take ROOT FILE...: files with the libraries that they need, at the same paths.
take() {
	local root=$1 file
	shift
	for file in "$@"; do
		mkdir -p "$root$(dirname "$file")"
		cp -aL "$file" "$root$file"
		for library in $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || true); do
			[ -e "$root$library" ] || { mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"; }
		done
	done
}

# folders ROOT FOLDER...: whole folders, links followed.
folders() {
	local root=$1
	shift
	tar -C / -ch "$@" | tar -C "$root" -x
}

# base ROOT: a shell and its tools, users, and the certificates.
base() {
	local root=$1 tool
	mkdir -p "$root"/{bin,etc/ssl/certs,tmp,usr/bin,var/lib,root}
	chmod 1777 "$root/tmp"
	cp "$(command -v busybox)" "$root/bin/busybox"
	for tool in $("$root/bin/busybox" --list); do
		[ -e "$root/bin/$tool" ] || ln -s busybox "$root/bin/$tool"
	done
	cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
	printf 'root:x:0:0::/root:/bin/sh\nhaproxy:x:99:99::/:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\nredis:x:999:1000::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
	printf 'root:x:0:\npostgres:x:70:\n' >"$root/etc/group"
	printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
}

# import ROOT NAME CHANGE...
import() {
	local root=$1 name=$2 changes=()
	shift 2
	for change in "$@"; do changes+=(--change "$change"); done
	tar -C "$root" -c . | "$docker" import "${changes[@]}" - "pymessage-base/$name:local" >/dev/null
	echo "made pymessage-base/$name:local"
	rm -rf "$root"
}

go_image() {
	local root=$work/go
	base "$root"
	mkdir -p "$root/usr/local" "$root/modules"
	tar -C "$(dirname "$(go env GOROOT)")" --exclude=go/test --exclude=go/api --exclude=go/doc -c "$(basename "$(go env GOROOT)")" |
		tar -C "$root/usr/local" -x
	mkdir -p "$keep/modules"
	(cd "$module" && GOMODCACHE=$keep/modules GOFLAGS=-modcacherw GONOSUMDB='*' GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" go mod download)
	cp -a "$keep/modules/cache/download/." "$root/modules/"
	import "$root" go 'ENV PATH=/usr/local/go/bin:/bin:/usr/bin' 'ENV GOPATH=/go' 'ENV GOTOOLCHAIN=local' \
		'ENV GOPROXY=file:///modules' 'ENV GONOSUMDB=*'
}

haproxy_image() {
	local root=$work/haproxy
	base "$root"
	take "$root" /usr/sbin/haproxy
	import "$root" haproxy 'USER 99:99' 'ENTRYPOINT ["/usr/sbin/haproxy", "-W", "-db"]' \
		'CMD ["-f", "/usr/local/etc/haproxy/haproxy.cfg"]'
}

postgres_image() {
	local root=$work/postgres bin
	bin=$(dirname "$(readlink -f "$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb | tail -1)")")
	local version
	version=$(basename "$(dirname "$bin")")
	base "$root"
	take "$root" "$bin"/{postgres,initdb,pg_ctl,pg_isready,psql,createdb,pg_dump,pg_restore}
	folders "$root" "usr/lib/postgresql/$version/lib" "usr/share/postgresql/$version" usr/share/zoneinfo
	install -D -m 755 "$here/postgres-entrypoint.sh" "$root/usr/bin/postgres-entrypoint"
	install -d -o 70 -g 70 -m 700 "$root/var/lib/postgresql/data" "$root/docker-entrypoint-initdb.d"
	install -d -o 70 -g 70 "$root/var/run/postgresql"
	import "$root" postgres "ENV PATH=$bin:/bin:/usr/bin" 'ENV PGDATA=/var/lib/postgresql/data' 'USER 70:70' \
		'ENTRYPOINT ["/usr/bin/postgres-entrypoint"]'
}

redis_image() {
	local root=$work/redis
	base "$root"
	take "$root" /usr/bin/redis-server /usr/bin/redis-cli
	import "$root" redis 'USER 999:1000' 'CMD ["redis-server"]' 'ENV PATH=/bin:/usr/bin'
}

prometheus_image() {
	local root=$work/prometheus
	base "$root"
	take "$root" /usr/bin/prometheus
	folders "$root" usr/share/prometheus
	install -d -o 65534 -g 65534 "$root/prometheus"
	import "$root" prometheus 'USER 65534:65534' 'WORKDIR /prometheus' 'ENTRYPOINT ["/usr/bin/prometheus"]'
}

for image in ${2:-go haproxy postgres redis prometheus}; do
	"${image}_image"
done
