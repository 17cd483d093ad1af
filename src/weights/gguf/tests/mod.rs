mod mutated;
mod reading;
mod refusing;
mod splitting;
mod writing;
