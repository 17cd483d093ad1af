mod models;
mod mutations;
mod reading;
mod refusing;
mod small;
mod tokenizing;
