#!/bin/sh
# gluster.sh DISK MOUNT ADDRESS: makes a GlusterFS volume of one brick and mounts it at MOUNT by its client (FUSE). Runs as root in
# a machine of its own with Debian's package glusterfs-server. DISK is an empty folder on a file system with user xattrs. ADDRESS is
# an address of this machine, without 127.0.0.0/8.
set -eu
disk=$1 at=$2 address=$3
mkdir -p /var/log/glusterfs "$disk/brick" "$at"
pidof glusterd >/dev/null || glusterd
until gluster pool list >/dev/null 2>&1; do sleep 1; done
gluster --mode=script volume create store transport tcp "$address:$disk/brick" force
gluster volume start store
mount -t glusterfs -o acl "$address:/store" "$at"
gluster volume info store
glusterfs --version | head -n 1
