/** Paths that are longer than the kernel takes at once: made and read from folder to folder, by their own way and not by the program's. */
import { execFileSync } from 'node:child_process';

/** A name that is nearly as long as a file system takes one. */
export const NAME = `n ${'n'.repeat(247)}`;

/** Makes `depth` folders with long names in each other below `top`, and files in the last one. @returns the path between them */
export function makeDeep(top: string, depth: number, files: Record<string, string>): string {
  return makeFolders(top, Array<string>(depth).fill(NAME), files);
}

/** As `makeDeep`, with these names for the folders. @param owner whose all of it is */
export function makeFolders(
  top: string,
  names: string[],
  files: Record<string, string>,
  owner?: number,
): string {
  const script = `
    my ($top, $owner, $depth, @words) = @ARGV;
    my $own = sub { $owner eq "" or chown $owner, $owner, $_[0] or die "$_[0]: $!" };
    chdir $top or die "$top: $!";
    for my $name (splice @words, 0, $depth) {
      -d $name or mkdir $name or die "$name: $!";
      $own->($name);
      chdir $name or die "$name: $!";
    }
    while (my ($file, $content) = splice @words, 0, 2) {
      open my $out, ">", $file or die "$file: $!";
      print $out $content;
      close $out or die "$file: $!";
      $own->($file);
    }`;
  const words = [top, String(owner ?? ''), String(names.length), ...names, ...Object.entries(files).flat()];
  execFileSync('/usr/bin/perl', ['-e', script, ...words]);
  return names.map(name => `${name}/`).join('');
}

/** The content of the files below a folder, by their last names, which are unique. */
export function contentsBelow(top: string): Record<string, string> {
  // Names and contents in hex: a pair a line.
  const script = `
    sub walk {
      opendir my $folder, "." or die "a folder: $!";
      for my $name (readdir $folder) {
        next if $name eq "." or $name eq ".." or -l $name;
        if (-d $name) { chdir $name or die "$name: $!"; walk(); chdir $folder or die "back: $!" }
        elsif (open my $in, "<", $name) { read $in, my $content, 100; printf "%s %s\\n", map { unpack "H*", $_ } $name, $content }
      }
    }
    chdir $ARGV[0] or die "$ARGV[0]: $!";
    walk();`;
  const printed = execFileSync('/usr/bin/perl', ['-e', script, top], { encoding: 'utf8' });
  const text = (hex: string): string => Buffer.from(hex, 'hex').toString('utf8');
  const pairs = printed
    .split('\n')
    .slice(0, -1)
    .map(line => line.split(' ').map(text) as [string, string]);
  return Object.fromEntries(pairs);
}
