//! temporary
use std::io::{self, Read, Write};
use crate::ordered::Pool;
use crate::error::{Error,Result};
/// t
#[derive(Debug,Clone,Copy,PartialEq,Eq)] pub enum Format { /// t
 Bzip2, /// t
 Gzip, /// t
 Zstd, /// t
 Plain }
impl Format { /// t
 pub fn extension(self)->&'static str{match self{Self::Bzip2=>"tar.bz2",Self::Gzip=>"tar.gz",Self::Zstd=>"tar.zst",Self::Plain=>"tar"}}}
/// t
#[derive(Debug,Clone,Copy)] pub struct Level(u8);
impl Level{/// t
 pub fn new(l:u8)->Result<Self>{ if l==0 {return Err(Error::usage("l"));} Ok(Self(l)) }}
/// t
pub struct Compressor<W:Write>(bzip2::write::BzEncoder<W>);
impl<W:Write> Compressor<W>{/// t
 pub fn new(w:W,_f:Format,l:Level,_p:&Pool)->Self{Self(bzip2::write::BzEncoder::new(w,bzip2::Compression::new(u32::from(l.0))))} /// t
 pub fn finish(self)->io::Result<W>{self.0.finish()}}
impl<W:Write> Write for Compressor<W>{fn write(&mut self,b:&[u8])->io::Result<usize>{self.0.write(b)} fn flush(&mut self)->io::Result<()>{Ok(())}}
/// t
pub struct Decompressor<R:Read>(bzip2::read::MultiBzDecoder<R>);
impl<R:Read> Decompressor<R>{/// t
 pub fn new(r:R,_p:&Pool)->io::Result<Self>{Ok(Self(bzip2::read::MultiBzDecoder::new(r)))} /// t
 pub fn compressed_bytes(&self)->u64{0} /// t
 pub fn trailing_garbage(&self)->Option<u64>{None}}
impl<R:Read> Read for Decompressor<R>{fn read(&mut self,b:&mut [u8])->io::Result<usize>{self.0.read(b)}}
impl<R:Read> std::fmt::Debug for Decompressor<R>{fn fmt(&self,f:&mut std::fmt::Formatter<'_>)->std::fmt::Result{f.write_str("x")}}
