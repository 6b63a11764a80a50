#!/bin/sh
# ceph.sh DISK MOUNT ADDRESS [fuse]: makes a Ceph cluster of one node with one file system (CephFS) and mounts it at MOUNT, by the
# kernel's client or by ceph-fuse. Runs as root in a machine of its own with Debian's packages ceph-mon, ceph-mgr, ceph-osd, ceph-mds,
# ceph-common and ceph-fuse. DISK is an empty folder on a file system with 5 GB. ADDRESS is an address of this machine, without
# 127.0.0.0/8. One copy of each object: a trial, not a cluster to keep data in.
set -eu
disk=$1 at=$2 address=$3 way=${4-kernel}
fsid=$(cat /proc/sys/kernel/random/uuid)
mkdir -p /etc/ceph /var/run/ceph /var/log/ceph "$disk/mon" "$disk/osd" "$disk/mgr" "$disk/mds" "$at"
cat >/etc/ceph/ceph.conf <<END
[global]
fsid = $fsid
mon_initial_members = a
mon_host = [v2:$address:3300,v1:$address:6789]
public_addr = $address
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_warn = 1
mon_data_avail_crit = 0
osd_pool_default_pg_autoscale_mode = off
# Emulation is slow: a daemon that has no processor for a while is not down.
osd_heartbeat_grace = 600
mon_osd_report_timeout = 3600
mds_beacon_grace = 600
mon_lease = 60
mon_mgr_beacon_grace = 600
mds_session_autoclose = 3600
mds_session_timeout = 600
osd_memory_target = 939524096
bluestore_block_size = 5368709120
bluestore_block_wal_size = 0
bluestore_block_db_size = 0
[mon.a]
mon_data = $disk/mon
[osd.0]
osd_data = $disk/osd
[mgr.a]
mgr_data = $disk/mgr
mgr_initial_modules =
[mds.a]
mds_data = $disk/mds
END
admin=/etc/ceph/ceph.client.admin.keyring mon=$disk/mon.keyring
ceph-authtool -C "$mon" --gen-key -n mon. --cap mon 'allow *'
ceph-authtool -C $admin --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *'
ceph-authtool "$mon" --import-keyring $admin
monmaptool --create --addv a "[v2:$address:3300,v1:$address:6789]" --fsid "$fsid" "$disk/monmap"
ceph-mon --mkfs -i a --monmap "$disk/monmap" --keyring "$mon"
ceph-mon -i a
ceph config set mon mon_warn_on_insecure_global_id_reclaim_allowed false

ceph auth get-or-create mgr.a mon 'allow profile mgr' osd 'allow *' mds 'allow *' -o "$disk/mgr/keyring"
ceph-mgr -i a

uuid=$(cat /proc/sys/kernel/random/uuid)
ceph-authtool -C "$disk/osd/keyring" --gen-key -n osd.0
key=$(ceph-authtool -p -n osd.0 "$disk/osd/keyring")
printf '{"cephx_secret":"%s"}\n' "$key" | ceph osd new "$uuid" -i -
ceph-osd -i 0 --mkfs --osd-uuid "$uuid"
ceph-osd -i 0

ceph auth get-or-create mds.a mon 'allow profile mds' osd 'allow rwx' mds 'allow *' -o "$disk/mds/keyring"
ceph-mds -i a
ceph osd pool create data 8
ceph osd pool create metadata 8
ceph fs new store metadata data
until ceph mds stat | grep -q up:active; do sleep 1; done
if [ "$way" = fuse ]; then
  ceph-fuse --id admin "$at"
else
  mount -t ceph "$address:/" "$at" -o "name=admin,secret=$(ceph-authtool -p -n client.admin $admin)"
fi
ceph -s
ceph --version
