// Removes the names of environment variables from a base. node, OpenSSL, libuv and ICU read these variables before dialback's own code
// runs: a file to load a module from, a folder to write to, a certificate to trust. If sshd lets a client set variables (AcceptEnv),
// they would act on the backup host with the rights of its account.

/** Each name must be in the base. A missing one may have a new name: look for it when you change node's version. */
export const REFUSED_NAMES = [
  'CTLOG_FILE',
  'ICU_TIMEZONE_FILES_DIR',
  'NODE_COMPILE_CACHE',
  'NODE_COMPILE_CACHE_PORTABLE',
  'NODE_DEBUG_NATIVE',
  'NODE_DISABLE_COMPILE_CACHE',
  'NODE_EXTRA_CA_CERTS',
  'NODE_ICU_DATA',
  'NODE_OPTIONS',
  'NODE_PENDING_DEPRECATION',
  'NODE_PRESERVE_SYMLINKS',
  'NODE_PRESERVE_SYMLINKS_MAIN',
  'NODE_REDIRECT_WARNINGS',
  'NODE_REPL_EXTERNAL_MODULE',
  'NODE_USE_ENV_PROXY',
  'NODE_USE_SYSTEM_CA',
  'NODE_V8_COVERAGE',
  'OPENSSL_CONF',
  'OPENSSL_CONF_INCLUDE',
  'OPENSSL_ENGINES',
  'OPENSSL_MODULES',
  'OSSL_QFILTER',
  'QLOGDIR',
  'RANDFILE',
  'SSL_CERT_DIR',
  'SSL_CERT_FILE',
  'UV_THREADPOOL_SIZE',
  'UV_USE_IO_URING',
];

/** Names in the build for one processor only. */
const REFUSED_WHERE_THERE = ['OPENSSL_ia32cap', 'OPENSSL_armcap'];

/**
 * Replaces the first byte of each name by a NUL, which makes it an empty name, so that getenv(3) does not find the variable. It changes
 * only C strings, which have a NUL on either side. In V8's snapshot the name's length and a hash precede it; that copy stays, since
 * only JavaScript reads it.
 * @param bytes a base; changed in place
 * @throws Error if a name is missing
 */
export function blankNames(bytes: Buffer): void {
  for (const name of [...REFUSED_NAMES, ...REFUSED_WHERE_THERE]) {
    const places = findStrings(bytes, name);
    for (const at of places) bytes[at] = 0;
    if (places.length === 0 && REFUSED_NAMES.includes(name))
      throw new Error(`Cannot keep the variable ${name} from the base: its name is not in it`);
  }
}

const LENGTH_BYTES = 4;

function findStrings(bytes: Buffer, name: string): number[] {
  const text = Buffer.from(`\0${name}\0`, 'latin1');
  const found: number[] = [];
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
    const start = at + 1;
    const isV8 = start >= LENGTH_BYTES && bytes.readInt32LE(start - LENGTH_BYTES) === name.length;
    if (!isV8) found.push(start);
  }
  return found;
}
