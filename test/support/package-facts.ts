/** The files of an installed package of dialback. They are the same for each package manager. */

export const LAUNCHER = '/usr/libexec/dialback/launch';
export const UID_FILE = '/etc/dialback/service-uid';

/** A script that prints capabilities, owners and modes of installed files. */
export const PRINT_FACTS = `getcap ${LAUNCHER} /usr/bin/dialback /usr/libexec/dialback/jail
  stat -c '%n %U:%G %a' ${LAUNCHER} /usr/bin/dialback /usr/libexec/dialback/jail ${UID_FILE} /var/lib/dialback
  test "$(cat ${UID_FILE})" = "$(id -u dialback)" && echo 'the uid'`;

/** Its output, in lines. */
export const FACTS: readonly string[] = [
  `${LAUNCHER} cap_dac_read_search=ep`,
  '/usr/bin/dialback cap_dac_read_search=i',
  `${LAUNCHER} root:dialback 750`,
  '/usr/bin/dialback root:root 755',
  '/usr/libexec/dialback/jail root:root 755',
  `${UID_FILE} root:root 644`,
  '/var/lib/dialback dialback:dialback 700',
  'the uid',
];
