/**
 * Lines of sshd_config(5) for the daemons of tests. OpenSSH 9's own first choice, sntrup761x25519, takes ssh 0.1 s of processor
 * time for each connection, which is more than all else in most tests. The one-time sshd of a client has its own choice
 * everywhere, and so have the daemons of versions/ and of `dialback try`.
 */
export const QUICK_EXCHANGE = 'KexAlgorithms curve25519-sha256';
