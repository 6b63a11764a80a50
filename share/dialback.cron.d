# /etc/cron.d/dialback: one backup a night, by cron. The other way is systemd's timer, dialback-backup.timer; use one
# of the two. This one is off as long as the last line begins with #.
#
# A backup that went well prints nothing. For any other, cron mails what it printed to MAILTO. Take a minute of your
# own, so that not all machines call their host at once.
SHELL=/bin/sh
MAILTO=root
#41 2 * * * dialback /usr/local/bin/dialback backup
