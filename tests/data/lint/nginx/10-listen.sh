#!/bin/sh
sed -i "s/80;/${PORT:-80};/" /etc/nginx/conf.d/default.conf
