/** The files that `dialback try` backs up, and the changes before its second backup. */
import { appendText, chmod, link, makeFolder, stat, symlink, truncate, unlink } from '../../os/files.ts';
import { standard } from '../../os/process.ts';
import { hasProgram } from '../../os/programs.ts';
import { randomHex } from '../../os/random.ts';
import { writeNew } from '../../os/replace.ts';
import { showBytes } from '../../output/units.ts';
import { escapeText } from '../../wire/text.ts';
import { must, own, ownAll, type Stage } from './stage.ts';

/** @param folder the folder to copy; undefined: a sample */
export async function fillData(stage: Stage, folder: string | undefined): Promise<void> {
  const { data, signal } = stage;
  if (folder === undefined) {
    makeFolder(data, { mode: 0o755 });
    await makeSample(stage);
  } else {
    await must(
      standard('rsync', ['-aHAXS', '--numeric-ids', '--', `${folder}/`, `${data}/`]),
      `copy "${escapeText(folder)}"`,
      signal,
    );
    await must(standard('chmod', ['-R', 'u+rX', '--', data]), 'make the copy readable', signal);
    await ownAll(stage, 'give the copy to the client');
  }
  const { files, bytes } = await measure(data);
  const what =
    folder === undefined
      ? 'a sample: odd names, links, a sparse file, several kinds'
      : `a copy of ${escapeText(folder)}, since it gets changed`;
  stage.story.step('Something to back up', `${files} files, ${showBytes(bytes)}: ${what}.`);
}

async function makeSample(stage: Stage): Promise<void> {
  const { data, isRootUser } = stage;
  for (const name of ['documents', 'documents/two words', 'photos', 'empty folder'])
    makeFolder(`${data}/${name}`, { mode: 0o755 });
  for (let index = 0; index < 200; index += 1)
    writeNew(`${data}/documents/note ${index}.txt`, `note ${index}\n`.repeat(index + 1), { mode: 0o640 });
  for (let index = 0; index < 8; index += 1)
    writeNew(`${data}/photos/${index}.raw`, Buffer.from(randomHex(512 * 1024), 'hex'), { mode: 0o644 });
  writeNew(`${data}/documents/two words/line\nbreak`, 'a name with a line break\n');
  writeNew(`${data}/documents/-rf *`, 'a name like an option\n');
  writeNew(`${data}/documents/private`, 'only its owner may read this\n', { mode: 0o400 });
  link(`${data}/photos/0.raw`, `${data}/documents/the same photo.raw`);
  symlink('../photos/1.raw', `${data}/documents/a link`);
  symlink('nowhere', `${data}/documents/a dangling link`);
  writeNew(`${data}/disk.img`, 'a few bytes, then zeros\n', { mode: 0o600 });
  truncate(`${data}/disk.img`, 64 * 1024 * 1024);
  await must(standard('mkfifo', ['--', `${data}/a fifo`]), 'make a FIFO');
  await ownAll(stage, 'give the sample to the client');
  if (!isRootUser) return;
  writeNew(`${data}/a setuid program`, '#!/bin/false\n', { mode: 0o755 });
  chmod(`${data}/a setuid program`, 0o4755); // owned by root, in the backup too
  await must(standard('mknod', ['--', `${data}/a device`, 'c', '1', '3']), 'make a device');
  if (hasProgram('setfacl')) {
    await must(standard('setfacl', ['-m', 'u:4242:r', '--', `${data}/documents/note 1.txt`]), 'set an ACL');
  }
}

async function measure(folder: string): Promise<{ files: number; bytes: number }> {
  const { stdout } = await must(
    standard('find', [folder, '!', '-type', 'd', '-printf', '%s\\n']),
    `look through "${folder}"`,
  );
  const sizes = stdout
    .toString('utf8')
    .split('\n')
    .filter(line => line !== '');
  return { files: sizes.length, bytes: sizes.reduce((sum, size) => sum + Number(size), 0) };
}

/** Changes a few files, as users do in a day. @returns the changes, in words */
export async function changeData(stage: Stage): Promise<string> {
  const { client, data } = stage;
  writeNew(`${data}/written since.txt`, 'new since the first backup\n');
  own(client, `${data}/written since.txt`);
  const [grown, reowned, removed] = await changeableFiles(data);
  const did = ['a new file'];
  if (grown) {
    appendText(grown, 'grown\n');
    did.push('one that grew');
  }
  if (reowned) {
    chmod(reowned, (stat(reowned).mode & 0o777) ^ 0o040);
    did.push('a chmod');
  }
  if (removed) {
    unlink(removed);
    did.push('one removed');
  }
  return did.join(', ');
}

/** Files with one name, some content and no set-id bit, sorted. Only names in UTF-8 can be passed as arguments. */
async function changeableFiles(data: string): Promise<string[]> {
  const { stdout } = await must(
    standard('find', [
      ...[data, '-type', 'f', '-links', '1', '-size', '+0'],
      ...['-perm', '-u+w', '!', '-perm', '/6000', '-print0'],
    ]),
    'look for files to change',
  );
  return stdout
    .toString('utf8')
    .split('\0')
    .filter(name => name !== '' && !name.includes('\ufffd') && !name.endsWith('since.txt'))
    .sort();
}
