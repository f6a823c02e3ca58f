# shellcheck shell=bash
# A throw-away certificate authority for what runs on this machine. Source base.sh first.

# pki_fresh FILE: does the certificate hold for another 30 days?
pki_fresh()
{
    [ -s "$1" ] && openssl x509 -in "$1" -noout -checkend $((30 * 86400)) >/dev/null 2>&1
}

# pki_authority FOLDER NAME: FOLDER/NAME.crt and .key, made anew only if missing.
pki_authority()
{
    local folder=$1 name=$2
    [ ! -s "$folder/$name.crt" ] || [ ! -s "$folder/$name.key" ] || return 0
    mkdir -p -- "$folder"
    (
        umask 077
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -sha256 \
            -subj "/CN=tenantry-$name" -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' \
            -addext 'keyUsage=critical,digitalSignature,keyCertSign,cRLSign' \
            -keyout "$folder/$name.key" -out "$folder/$name.crt" 2>"$folder/openssl.log"
    ) || die "openssl could not make the authority $name: $(cat -- "$folder/openssl.log")"
}

# pki_issue FOLDER AUTHORITY NAME SUBJECT USAGE [ALTNAMES]: FOLDER/NAME.crt and .key, signed by AUTHORITY in the same folder;
# made anew when missing, near its end, or not signed by that authority. USAGE: serverAuth, clientAuth or both with a comma.
pki_issue()
{
    local folder=$1 authority=$2 name=$3 subject=$4 usage=$5 altnames=${6:-}
    if pki_fresh "$folder/$name.crt" && [ -s "$folder/$name.key" ] &&
        openssl verify -CAfile "$folder/$authority.crt" "$folder/$name.crt" >/dev/null 2>&1; then
        return 0
    fi
    (
        umask 077
        {
            printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n'
            printf 'extendedKeyUsage=%s\n' "$usage"
            [ -z "$altnames" ] || printf 'subjectAltName=%s\n' "$altnames"
        } >"$folder/$name.ext"
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "$subject" \
            -keyout "$folder/$name.key" -out "$folder/$name.csr" 2>"$folder/openssl.log" &&
            openssl x509 -req -in "$folder/$name.csr" -CA "$folder/$authority.crt" -CAkey "$folder/$authority.key" \
                -set_serial "0x$(openssl rand -hex 15)" -days 825 -sha256 -extfile "$folder/$name.ext" \
                -out "$folder/$name.crt" 2>>"$folder/openssl.log"
    ) || die "openssl could not issue $name: $(cat -- "$folder/openssl.log")"
    rm -f -- "$folder/$name.csr" "$folder/$name.ext"
}
