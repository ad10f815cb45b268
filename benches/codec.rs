//! voltar's codec as a filter, which `benches/run` measures beside other compressors.
//!
//! ```text
//! codec compress|decompress [THREADS] <IN >OUT
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::fd::AsFd as _;
use std::thread::available_parallelism;

use voltar::codec::{Compression, Compressor, Decompressor, Format, Level};
use voltar::ordered::Pool;

/// The buffer size of reads and writes.
const PIECE: usize = 256 << 10;

const USAGE: &str = "usage: codec compress|decompress [THREADS [FORMAT [LEVEL]]] <IN >OUT (benches/run calls it)";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let threads = match args.get(1) {
        Some(threads) => threads.parse()?,
        None => available_parallelism()?.get(),
    };
    let pool = Pool::new(threads)?;
    // `File`, because `Stdout` is line-buffered.
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    match args.first().map(String::as_str) {
        Some("compress") => {
            let format = args.get(2).map_or(Some(Format::Bzip2), |name| Format::of_name(name)).ok_or(USAGE)?;
            let level = args.get(3).map(|level| level.parse().map(Level::new)).transpose()?.flatten();
            let compression = Compression::new(format, level)?;
            let mut compressor = Compressor::new(output, compression, &pool);
            io::copy(&mut BufReader::with_capacity(PIECE, input), &mut compressor)?;
            compressor.finish()?;
        }
        Some("decompress") => {
            let mut output = BufWriter::with_capacity(PIECE, output);
            io::copy(&mut Decompressor::new(input, &pool)?, &mut output)?;
            output.flush()?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
