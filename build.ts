// Builds dist/dialback, one executable that contains node: `node build.ts [--target x64|arm64]`. A build for the other processor has
// its name at the end: dist/dialback-arm64. esbuild bundles src/main.ts into chunks; pkg's SEA module puts them into a copy of the base, a plain node.
// The same sources, base and strip(1) give the same bytes in any folder.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { log } from '@yao-pkg/pkg/lib-es5/log.js';
import pkg from '@yao-pkg/pkg/lib-es5/sea.js';
import { build, transform } from 'esbuild';
import { type Arch, baseVersion, findBase, readJson } from './tools/base.ts';
import { acceptBuiltinCaches, codeCaches, V8_OPTIONS } from './tools/code-cache.ts';
import { blankNames } from './tools/environment.ts';

const TOP = import.meta.dirname;
const DIST = join(TOP, 'dist');

/** Prints one sentence and the next step, and ends the build. */
function fail(found: string, next: string): never {
  console.error(`build: ${found}\nnext: ${next}`);
  process.exit(1);
}

function parseTarget(argv: string[]): Arch {
  const { target } = parseArgs({ args: argv, options: { target: { type: 'string' } } }).values;
  const arch = target ?? process.arch;
  if (arch === 'x64' || arch === 'arm64') return arch;
  return fail(`Cannot build for "${arch}": there is no base for it`, 'node build.ts --target x64|arm64');
}

async function baseOf(arch: Arch, work: string): Promise<string> {
  try {
    return await findBase(arch, work);
  } catch (error) {
    return fail(
      error instanceof Error ? error.message : String(error),
      'npm ci --ignore-scripts, or try again',
    );
  }
}

/**
 * Strips a copy of the base, which saves 18 MB. It must happen before the blob is added, since stripping the result breaks it. Without
 * a strip(1) for the target the base stays larger, and works. Its checksum differs, so compare only builds with the same binutils.
 * @returns the result, for the line that the build prints
 */
function stripBase(base: string, copy: string, arch: Arch): string {
  const strip =
    arch === process.arch ? 'strip' : `${arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu-strip`;
  try {
    execFileSync(strip, ['-o', copy, base], { stdio: ['ignore', 'ignore', 'pipe'] });
    return 'stripped';
  } catch {
    copyFileSync(base, copy);
    chmodSync(copy, 0o755);
    return `NOT stripped, since ${strip} did not work (package binutils)`;
  }
}

/**
 * The program that the executable runs first. It loads a chunk of the bundle when another one requires it, with its code cache. It
 * loads a module of node on its first use: loading those at each start would take 8 ms more, most of it for node:crypto.
 */
const LOADER = `"use strict";
const { Script } = require('node:vm');
const { getRawAsset } = require('node:sea');
const read = name => Buffer.from(getRawAsset(name));
const run = name => {
  const script = new Script(read(name).latin1Slice(), { filename: 'dialback/' + name, cachedData: read(name + '.cache') });
  return script.runInThisContext();
};
const small = run('small.js');
const chunks = new Map();
const modules = new Map();
const late = name => {
  let found;
  return new Proxy({}, { get: (_, key) => (found ??= require(name))[key] });
};
const load = name => {
  if (!name.startsWith('./')) {
    if (!modules.has(name)) modules.set(name, late(name));
    return modules.get(name);
  }
  if (chunks.has(name)) return chunks.get(name).exports;
  const chunk = { exports: {} };
  chunks.set(name, chunk);
  const body = small[name] ?? run(name.slice(2));
  body(load, chunk, chunk.exports);
  return chunk.exports;
};
load('./main.js');
`;
/** Chunks up to this length are one script, since each script costs a start 0.1 ms. */
const SMALL_CHARACTERS = 16_384;

/** Makes a chunk a function of CommonJS's variables, so that the cache covers all of it. */
function wrap(code: string): string {
  return `function (require, module, exports) {"use strict";${code}}`;
}

/**
 * Compiles a library for rsync (src/launcher). Without a compiler it prints a note, and the executable lacks the library.
 * @returns the library in base64; '' without a compiler
 */
function compileLibrary(arch: Arch, work: string, name: 'linkat' | 'mountpoints'): string {
  const output = join(work, `${name}.so`);
  const foreign = arch === 'arm64' ? 'aarch64-linux-gnu-gcc' : 'x86_64-linux-gnu-gcc';
  const CC = process.env.CC ?? (arch === process.arch ? 'gcc' : foreign);
  try {
    execFileSync(join(TOP, 'tools/linkat.sh'), [output, name], {
      env: { ...process.env, CC },
      stdio: 'pipe',
    });
    return readFileSync(output).toString('base64');
  } catch {
    return '';
  }
}

/**
 * Bundles src/main.ts into chunks: one for each import() and one for each set of files that several of them share. So a process has
 * only the code of its command in memory.
 * @returns scripts in Latin-1 by the names under which the loader looks for them
 */
async function bundle(constants: Record<string, string>): Promise<Map<string, string>> {
  const { outputFiles } = await build({
    absWorkingDir: TOP, // makes paths in the output relative, so that it does not contain the checkout's path
    entryPoints: ['src/main.ts'],
    outdir: DIST,
    write: false,
    bundle: true,
    splitting: true,
    format: 'esm', // esbuild splits nothing else; node:sea runs CommonJS
    platform: 'node',
    target: 'node24',
    define: Object.fromEntries(Object.entries(constants).map(([name, text]) => [name, JSON.stringify(text)])),
    legalComments: 'inline',
    logLevel: 'warning',
  });
  const scripts = new Map<string, string>();
  const small: string[] = [];
  for (const { path, text } of outputFiles) {
    const { code } = await transform(text, {
      format: 'cjs',
      platform: 'node',
      target: 'node24',
      supported: { 'dynamic-import': false }, // an import() of a chunk is a require()
      charset: 'ascii',
      legalComments: 'inline',
    });
    const name = basename(path);
    requireAscii(code);
    if (code.length > SMALL_CHARACTERS) scripts.set(name, `(${wrap(code)})`);
    else small.push(`${JSON.stringify(`./${name}`)}: ${wrap(code)}`);
  }
  return scripts.set('small.js', `({${small.sort().join(',\n')}})`);
}

/** esbuild escapes other characters, but for those in tagged templates and comments. The scripts are Latin-1. */
function requireAscii(code: string): void {
  const found = /.{0,40}[\u0080-\uffff].{0,40}/.exec(code.replace(/\/\*[\s\S]*?\*\//g, ''));
  if (found)
    fail(`Cannot write a character that is not ASCII: ${found[0]}`, 'write it as an entity or an escape');
}

/** Writes each script and its code cache into `work`. @returns the files' paths for pkg, by the names for the loader */
function writeScripts(
  scripts: Map<string, string>,
  isForeign: boolean,
  work: string,
): Record<string, string> {
  const names = [...scripts.keys()].sort();
  // A cache fits one kind of processor. An executable for another one gets empty caches, which V8 refuses.
  const caches = isForeign
    ? names.map(() => '')
    : codeCaches(
        names.map(name => scripts.get(name) ?? ''),
        V8_OPTIONS,
      );
  const assets: Record<string, string> = {};
  for (const [at, name] of names.entries()) {
    writeFileSync(join(work, name), scripts.get(name) ?? '', 'latin1');
    writeFileSync(join(work, `${name}.cache`), caches[at] ?? '');
    // Relative to pkg's folder, since an absolute path would be part of the result.
    assets[name] = `../${name}`;
    assets[`${name}.cache`] = `../${name}.cache`;
  }
  return assets;
}

/** Puts the scripts into a copy of `base`. pkg makes its temporary folder inside `work`. */
async function inject(
  scripts: Map<string, string>,
  base: string,
  output: string,
  arch: Arch,
  work: string,
): Promise<void> {
  const loader = join(work, 'loader.cjs');
  writeFileSync(loader, LOADER);
  const isForeign = arch !== process.arch;
  const seaConfig = {
    main: '../loader.cjs', // CommonJS; relative to pkg's folder as the scripts are
    assets: writeScripts(scripts, isForeign, work),
    disableExperimentalSEAWarning: true,
    useSnapshot: false,
    useCodeCache: false, // it covers only the loader, and its bytes differ in each build (tools/code-cache.ts)
    execArgvExtension: 'none', // ignores NODE_OPTIONS in the environment
    execArgv: [
      '--disable-sigusr1', // by default that signal opens a debugger port
      '--disable-warning=ExperimentalWarning',
      ...V8_OPTIONS,
      '--', // without it node takes a login shell's own name, `-dialback`, for an option
    ],
  };
  process.env.TMPDIR = work;
  log.info = () => {}; // warnings stay
  await pkg.default(loader, {
    nodePath: base,
    useLocalNode: isForeign, // this node makes the blob, since a foreign base cannot run here
    seaConfig,
    targets: [{ nodeRange: 'node24', platform: 'linux', arch, output }],
  });
}

/**
 * Prepares the base: it ignores variables of the environment that could make it read or write a file (tools/environment.ts), and V8
 * accepts its code caches. V8 refuses those of a foreign base, and compiles the modules.
 */
function changeBase(base: string, isForeign: boolean): void {
  const bytes = readFileSync(base);
  try {
    blankNames(bytes);
  } catch (error) {
    fail(
      error instanceof Error ? error.message : String(error),
      'look for its new name in node, and change the list',
    );
  }
  if (!isForeign && acceptBuiltinCaches(bytes, V8_OPTIONS) === 0)
    fail(
      'Cannot keep the code caches of the base: there is none',
      'look in the base for the start of a code cache',
    );
  writeFileSync(base, bytes);
}

async function main(): Promise<void> {
  const startedMs = performance.now();
  const arch = parseTarget(process.argv.slice(2));
  const { version } = readJson<{ version: string }>('package.json');
  // The blob's layout changes between patch releases, so the same node must write and read it.
  if (baseVersion(arch) !== process.versions.node) {
    fail(
      `Cannot build with node ${process.versions.node}: the base is ${baseVersion(arch)}`,
      'npm run build',
    );
  }

  mkdirSync(DIST, { recursive: true });
  // Beside the result, so that the last step is a rename, and an interrupted build keeps the old file.
  const work = mkdtempSync(join(DIST, '.build-'));
  process.on('exit', () => rmSync(work, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));

  const base = join(work, 'base');
  const made = join(work, 'made');
  const output = join(DIST, arch === process.arch ? 'dialback' : `dialback-${arch}`);
  const library = compileLibrary(arch, work, 'linkat');
  const mountpoints = compileLibrary(arch, work, 'mountpoints');
  const scripts = await bundle({
    DIALBACK_VERSION: version,
    DIALBACK_LINKAT: library,
    DIALBACK_MOUNTPOINTS: mountpoints,
  });
  const strip = stripBase(await baseOf(arch, work), base, arch);
  changeBase(base, arch !== process.arch);
  await inject(scripts, base, made, arch, work);
  chmodSync(made, 0o755);
  renameSync(made, output);

  const bytes = readFileSync(output);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const megabytes = (bytes.length / 1e6).toFixed(1);
  console.log(`${output.slice(TOP.length + 1)}: ${megabytes} MB, ${strip}, ${seconds} s, sha256 ${sha256}`);
  if (library === '') {
    console.log(
      'build: Cannot compile src/launcher/linkat.c: gcc does not work. A host that runs this build without the',
    );
    console.log(
      'launcher fails at a file with more hard links than its file system takes (ext4: 65,000), and a client',
    );
    console.log('without it is held up by a mounted file system that does not answer');
    console.log('next: for such a machine, apt-get install gcc libc6-dev, then make build');
    utimesSync(output, 0, 0); // makes make build it again: a compiler may be installed by then
  }
}

await main();
