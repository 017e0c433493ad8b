# m h dom mon dow  user  command
*/5 * * * *        shop  /usr/local/bin/drop.sh /srv/orders depot:orders
