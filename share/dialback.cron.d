# /etc/cron.d/dialback: a backup every night, by cron. Use either this or systemd's timer, dialback-backup.timer. This one is
# off while the last line begins with #.
#
# A successful backup has no output. cron mails the output of any other to MAILTO. Choose another minute, so that not all
# machines call their host at once.
SHELL=/bin/sh
MAILTO=root
#41 2 * * * dialback /usr/local/bin/dialback backup
