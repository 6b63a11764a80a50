/**
 * Makes the list of a release from that of npm: `npm sbom … | node tools/sbom.ts SECONDS`.
 *
 * It keeps the packages that package.json's `dependencies` and `optionalDependencies` need. (`npm sbom --omit=dev` of npm 11.19 also
 * leaves out minimist, which a tool of the build needs as well.) npm writes the time and a random serial number. SECONDS replaces the
 * time, and a number made from the rest replaces the other, so the list is the same in each run.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

interface Sbom {
  bomFormat: string;
  serialNumber: string;
  metadata: { timestamp: string; component: { 'bom-ref': string } };
  components: { 'bom-ref': string }[];
  dependencies: { ref: string; dependsOn: string[] }[];
}

function fail(found: string): never {
  console.error(`sbom: Cannot read npm's list of packages: ${found}`);
  console.error('next: npm install --global npm@11, then make release');
  process.exit(1);
}

/** @returns the parts of the executable, as NAME@VERSION; package.json has the exact version of each */
function listParts(sbom: Sbom): Set<string> {
  const { dependencies, devDependencies, optionalDependencies } = JSON.parse(
    readFileSync('package.json', 'utf8'),
  ) as Record<'dependencies' | 'devDependencies' | 'optionalDependencies', Record<string, string>>;
  const listed = new Map(sbom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
  // valibot names TypeScript as an optional peer, and the executable does not have it.
  const tools = new Set(Object.entries(devDependencies).map(([name, version]) => `${name}@${version}`));
  const parts = new Set(
    Object.entries({ ...dependencies, ...optionalDependencies }).map(
      ([name, version]) => `${name}@${version}`,
    ),
  );
  // The loop also reaches the parts that it adds.
  for (const part of parts) {
    const next = listed.get(part) ?? fail(`"${part}" is not in it`);
    for (const each of next) if (!tools.has(each)) parts.add(each);
  }
  return parts;
}

const seconds = Number(process.argv[2]);
const sbom = JSON.parse(readFileSync(0, 'utf8')) as Sbom;
if (
  !Number.isSafeInteger(seconds) ||
  sbom.bomFormat !== 'CycloneDX' ||
  !sbom.serialNumber ||
  !sbom.metadata?.timestamp
)
  fail('it is not CycloneDX with a serial number and a time');
const parts = listParts(sbom);
const top = sbom.metadata.component['bom-ref'];
sbom.components = sbom.components.filter(each => parts.has(each['bom-ref']));
sbom.dependencies = sbom.dependencies
  .filter(({ ref }) => ref === top || parts.has(ref))
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter(each => parts.has(each)) }));
sbom.metadata.timestamp = new Date(seconds * 1000).toISOString();
sbom.serialNumber = '';
const hex = createHash('sha256').update(JSON.stringify(sbom)).digest('hex');
// RFC 9562, section 5.8: version 8, for a maker's own way.
const fields = [
  hex.slice(0, 8),
  hex.slice(8, 12),
  `8${hex.slice(13, 16)}`,
  `a${hex.slice(17, 20)}`,
  hex.slice(20, 32),
];
sbom.serialNumber = `urn:uuid:${fields.join('-')}`;
process.stdout.write(`${JSON.stringify(sbom, null, 2)}\n`);
