#!/bin/sh
envsubst < /etc/nginx/templates/default > /etc/nginx/conf.d/default.conf
