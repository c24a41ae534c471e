//! Shoal's files of matrices: what the store holds of data sets and models, readable by any safetensors library.
//!
//! [`mapped_file`] maps files, [`tensor_file`] checks one, [`tensor_pieces`] writes one piece by piece. On them stand the columns of
//! ids ([`id_column`]), the blocks of ratings ([`blocks`], of [`row`]s) and the parts of models ([`model_parts`]).
//! Nothing here knows a source file, a job or a socket.

pub mod blocks;
pub mod id_column;
pub mod mapped_file;
pub mod model_parts;
pub mod regular_file;
pub mod row;
pub mod tensor_file;
pub mod tensor_pieces;
