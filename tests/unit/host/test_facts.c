/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/linux/host/host_internal.h"
#include "tests/unit/test.h"

static void
put(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void
the_stub_of_resolved_stands_for_whom_it_asks(void **state)
{
    struct host_dns dns;
    char dir[] = "/tmp/vmt-facts-XXXXXX", resolv[64], resolved[64];

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(resolv, sizeof(resolv), "%s/resolv.conf", dir);
    (void)snprintf(resolved, sizeof(resolved), "%s/resolved.conf", dir);
    put(resolv, "nameserver 127.0.0.53\noptions edns0\nsearch a.example\n");
    linux_host_read_dns(resolv, resolved, &dns); /* it does not say: then this */
    assert_int_equal(dns.nservers, 1);
    assert_string_equal(dns.servers[0], "127.0.0.53");
    put(resolved, "nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch b.example\n");
    linux_host_read_dns(resolv, resolved, &dns);
    assert_int_equal(dns.nservers, 2);
    assert_string_equal(dns.servers[1], "192.0.2.2");
    assert_string_equal(dns.domains[0], "b.example");
    put(resolv, "nameserver 192.0.2.9\n");
    linux_host_read_dns(resolv, resolved, &dns);
    assert_int_equal(dns.nservers, 1);
    assert_string_equal(dns.servers[0], "192.0.2.9");
    (void)unlink(resolv);
    (void)unlink(resolved);
    linux_host_read_dns(resolv, resolved, &dns);
    assert_int_equal(dns.nservers, 0);
    assert_int_equal(rmdir(dir), 0);
}

static void
the_zone_is_the_target_of_a_link_or_the_text_of_a_file(void **state)
{
    char dir[] = "/tmp/vmt-facts-XXXXXX", link[64], file[64], zone[32];

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(link, sizeof(link), "%s/localtime", dir);
    (void)snprintf(file, sizeof(file), "%s/timezone", dir);
    linux_host_read_zone(link, file, zone, sizeof(zone));
    assert_string_equal(zone, "");
    put(file, "Asia/Tokyo\n");
    linux_host_read_zone(link, file, zone, sizeof(zone));
    assert_string_equal(zone, "Asia/Tokyo");
    assert_int_equal(symlink("/usr/share/zoneinfo/Europe/Berlin", link), 0);
    linux_host_read_zone(link, file, zone, sizeof(zone));
    assert_string_equal(zone, "Europe/Berlin");
    linux_host_read_zone(link, file, zone, 5); /* no room: nothing, not a part */
    assert_string_equal(zone, "");
    (void)unlink(link);
    (void)unlink(file);
    assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stub_of_resolved_stands_for_whom_it_asks),
        cmocka_unit_test(the_zone_is_the_target_of_a_link_or_the_text_of_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
