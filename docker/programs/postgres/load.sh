#!/bin/bash
# Four clients insert one row after the other, each in its own transaction, until the server goes away. What comes on
# stdout, a number for each row, is what the server has acknowledged.
ask() { psql -qAt -h 127.0.0.1 -U postgres "$@"; }
ask -c 'create table if not exists rows (id int primary key)'
for client in 1 2 3 4; do
  for ((i = 0; i < 20000; i++)); do echo "insert into rows values ($((client * 100000 + i))) returning id;"; done |
    ask -v ON_ERROR_STOP=1 &
done
wait
echo over
