//! What the help of each command says below its options: examples, exit statuses, the environment.

pub(super) const EXIT_STATUS: &str = "\
EXIT STATUS
  0    done
  1    done, with warnings: a file changed while it was read, a socket was skipped;
       or an archive and its volume differ; or a hook failed after the backup
  2    not done, and then nothing under a final name and nothing in a volume has
       changed; errors in the command line too
  75   another run is in progress: as 2
  130  interrupted by a signal: as 2";

pub(super) const ENVIRONMENT: &str = "\
ENVIRONMENT
  DOCKER_HOST       the engine to ask where --docker is not given
  VOLTAR_STATE_DIR  where voltar records the containers that it stops and the
                    trees that it replaces (default /var/lib/voltar)";

pub(super) const MAIN_EXAMPLES: &str = "\
EXAMPLES
  voltar plan                    what would be archived, from where, how big
  voltar backup --stop           into ./backup, containers stopped meanwhile
  voltar verify                  are the archives in ./backup complete?
  voltar restore --stop          from ./backup into the volumes";

pub(super) const PLAN_EXAMPLES: &str = "\
EXAMPLES
  voltar plan                    every archive that `voltar backup` would make
  voltar plan --stop /mnt/nas    would `backup --stop /mnt/nas` be refused?
  voltar plan --json             the same as one JSON document";

pub(super) const PLAN_EXIT_STATUS: &str = "\
EXIT STATUS
  0  a backup can be made
  1  a backup would be refused, for the reasons printed
  2  the plan itself could not be made; errors in the command line too";

pub(super) const BACKUP_EXAMPLES: &str = "\
EXAMPLES
  voltar backup --stop                       cvat_data.tar.bz2, cvat_db.tar.bz2 …
  voltar backup --stop --only cvat_db /mnt   just the database, into /mnt
  voltar backup --format zst nightly         other suffixes, much faster
  voltar backup --data-root /rescued/docker  from a disk whose engine is gone
  voltar backup --stop --into /srv/nightly   a dated set of archives each time
  voltar backup --stop --only cvat_db - | ssh nas 'cat > cvat_db.tar.bz2'
  voltar backup --stop --to-command 'rclone rcat remote:backup/{file}'
  voltar backup --config nightly             as /etc/voltar/nightly.toml says";

pub(super) const HOOKS: &str = "\
HOOKS
  [hooks]  in a configuration file: command lines that run with `sh -c`
  before   before anything else; if it fails, the backup is not begun
  after    after a backup that was made; if it fails, that is a warning
  failed   after one that was not
  finally  at the end, however the run ended
  VOLTAR_HOOK, VOLTAR_CONFIG
           in the environment of each: its name, and the path of the file
  VOLTAR_STATUS, VOLTAR_ERROR, VOLTAR_WARNINGS
           but for before: the exit status, the error, the number of warnings
  VOLTAR_SET, VOLTAR_BYTES, VOLTAR_DOWNTIME_SECONDS
           where known: where the archives are, their length, and how long
           containers were stopped";

pub(super) const SETS_EXAMPLES: &str = "\
EXAMPLES
  voltar sets /srv/nightly       what `backup --into /srv/nightly` has made
  voltar sets --json /srv/nightly
  voltar restore --stop /srv/nightly                       the newest complete set
  voltar restore --stop /srv/nightly/2026-11-25T02-00-00Z  this one";

pub(super) const PRUNE_EXAMPLES: &str = "\
EXAMPLES
  voltar prune /srv/nightly --keep-daily 7 --keep-weekly 5 --keep-monthly 12
  voltar prune /srv/nightly --keep-within 30d --dry-run
  voltar backup --stop --into /srv/nightly --keep-daily 7     both in one run";

pub(super) const VERIFY_EXAMPLES: &str = "\
EXAMPLES
  voltar verify                              every archive in ./backup
  voltar verify /mnt/nas/2022-03-01          those in another directory
  voltar verify old/cvat_data.tar.gz         just this file
  voltar verify --against-volume             do the volumes hold the same?
  ssh nas 'cat cvat_db.tar.bz2' | voltar verify -";

pub(super) const LIST_EXAMPLES: &str = "\
EXAMPLES
  voltar list backup/cvat_db.tar.bz2
  voltar list backup/cvat_data.tar.bz2 | head
  TZ=UTC voltar list backup/cvat_data.tar.bz2";

pub(super) const RESTORE_EXAMPLES: &str = "\
EXAMPLES
  voltar restore --stop                      every archive in ./backup
  voltar restore --stop old/cvat_db.tar.bz2  just this one
  voltar restore --stop --keep-previous      and keep what was there before
  voltar restore --stop=project              stop the whole compose project
  voltar restore --merge --only cvat_data    extract it over what is there
  voltar restore --stop --only cvat_data --path data/42   one directory of it
  voltar restore --to /tmp/look              all archives, into a new directory
  voltar restore --only cvat_db --from . x.tar   an archive of `tar -C DIR .`
  voltar restore --project cvat --create-volumes   on a new host
  ssh nas 'cat cvat_db.tar.bz2' | voltar restore --stop --only cvat_db -";

pub(super) const RESUME_EXAMPLES: &str = "\
EXAMPLES
  voltar resume                  after a `kill -9` or a power cut";

pub(super) const LAYOUT_EXAMPLES: &str = "\
EXAMPLES
  voltar layout > wp.toml        the only compose project, or all containers
  voltar layout --project wp     one of several projects
  voltar backup --layout wp.toml --stop";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
EXAMPLES
  voltar completions bash > /usr/share/bash-completion/completions/voltar
  voltar completions zsh > /usr/local/share/zsh/site-functions/_voltar
  voltar completions fish > /etc/fish/completions/voltar.fish";

pub(super) const MAN_EXAMPLES: &str = "\
EXAMPLES
  voltar man /usr/local/share/man/man1   then `man voltar-backup` shows a page";
