// Messages for the browser tests.
const CRLF = '\r\n';
const lines = (...parts) => Buffer.from(parts.join(CRLF), 'latin1');
const utf8 = (...parts) => Buffer.from(parts.join(CRLF), 'utf8');
const base64Lines = (bytes) => Buffer.from(bytes).toString('base64').replace(/.{76}/g, '$&\r\n');

// 2 × 2 pixels of teal.
export const PNG = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGPgjk0CIgYIBQAXlgLtSf9o6AAAAABJRU5ErkJggg==', 'base64');

export const TEXT = utf8(
    'From: =?UTF-8?Q?J=C3=B6rg_M=C3=BCller?= <joerg@example.org>',
    'To: Anna <anna@example.com>',
    'Subject: =?UTF-8?B?R3LDvMOfZSBhdXMgWsO8cmljaCDwn5Os?=',
    'Date: Fri, 21 Nov 2025 18:33:20 +0000',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: 8bit',
    '',
    'Liebe Anna,',
    '',
    'die Unterlagen liegen unter https://example.org/a?b=1&c=2, wie besprochen.',
    'Bei Fragen: joerg@example.org',
    '',
    '<script>alert("text is text")</script>',
    '',
    'Jörg',
    '');

export const REPORT = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919) & 255));

export function mixed() {
    return lines(
        'From: "Reports" <reports@example.org>',
        'To: Anna <anna@example.com>, Bert <bert@example.com>',
        'Cc: carol@example.com',
        'Subject: Quarterly report',
        'Date: Fri, 21 Nov 2025 18:33:20 +0100',
        'MIME-Version: 1.0',
        'Content-Type: multipart/mixed; boundary="mixed"',
        '',
        '--mixed',
        'Content-Type: multipart/alternative; boundary="alt"',
        '',
        '--alt',
        'Content-Type: text/plain; charset=us-ascii',
        '',
        'Plain version, not shown.',
        '--alt',
        'Content-Type: multipart/related; boundary="rel"',
        '',
        '--rel',
        'Content-Type: text/html; charset=utf-8',
        'Content-Transfer-Encoding: quoted-printable',
        '',
        '<html><head><style>.total { color: rgb(11, 93, 94); font-weight: bold; position: fixed; background: url(http://x.invalid/) }</style></head>',
        '<body><h2>Results</h2><p>Revenue rose by <span class=3D"total">12=C2=A0%</span>, see the table.</p>',
        '<table border=3D"1" cellpadding=3D"6"><tr><th>Quarter</th><th>Revenue</th></tr><tr><td>Q3</td><td>1,204,000</td></tr></table>',
        '<p><img src=3D"cid:logo@example.org" alt=3D"logo" width=3D"120" height=3D"24"> <a href=3D"https://example.org/report">Full report</a></p></body></html>',
        '--rel',
        'Content-Type: image/png; name="logo.png"',
        'Content-Transfer-Encoding: base64',
        'Content-ID: <logo@example.org>',
        'Content-Disposition: inline; filename="logo.png"',
        '',
        base64Lines(PNG),
        '--rel--',
        '--alt--',
        '--mixed',
        'Content-Type: application/pdf',
        "Content-Disposition: attachment; filename*=utf-8''Bericht%20Q3%20%E2%82%AC.pdf",
        'Content-Transfer-Encoding: base64',
        '',
        base64Lines(REPORT),
        '--mixed',
        'Content-Type: message/rfc822',
        '',
        'From: x@example.org',
        'Subject: Earlier message',
        '',
        'Forwarded text.',
        '--mixed--',
        '');
}

// Every way that came to mind in which mail HTML could reach out, run or leave its frame.
export function hostile(tracker) {
    const t = tracker;
    return lines(
        'From: Mallory <mallory@example.org>',
        'To: anna@example.com',
        'Subject: Look at this',
        'Date: Fri, 21 Nov 2025 18:33:20 +0000',
        'MIME-Version: 1.0',
        'Content-Type: text/html; charset=utf-8',
        '',
        '<html><head>',
        `<meta http-equiv="refresh" content="0; url=${t}/refresh">`,
        `<base href="${t}/base/">`,
        `<link rel="stylesheet" href="${t}/link.css"><link rel="preload" as="image" href="${t}/preload.png">`,
        `<link rel="dns-prefetch" href="${t}"><link rel="prefetch" href="${t}/prefetch">`,
        `<style>@import url("${t}/import.css"); body { background: url(${t}/css-bg.png) }`,
        `@font-face { font-family: f; src: url(${t}/font.woff) } p { font-family: f; content: "<\\/style><script>document.title='owned'<\\/script>" }`,
        `.c { cursor: url(${t}/cursor.cur), auto; list-style-image: url(${t}/list.png) } li { color: green }</style>`,
        `<script>document.title = "owned"; new Image().src = "${t}/script"; parent.document.title = "owned"</script>`,
        '</head>',
        `<body background="${t}/body.png" onload="document.title='owned'">`,
        '<p id="ok">This paragraph stays.</p>',
        `<img src="${t}/img.png" alt="a picture"><img srcset="${t}/srcset.png 1x, ${t}/srcset2.png 2x" alt="set">`,
        `<img src="x" onerror="document.title='owned'"><picture><source srcset="${t}/picture.png"><img src="${t}/picture2.png"></picture>`,
        `<video src="${t}/video.mp4" poster="${t}/poster.png" autoplay></video><audio src="${t}/audio.mp3"></audio>`,
        `<iframe src="${t}/iframe"></iframe><iframe srcdoc="<img src=${t}/srcdoc.png>"></iframe>`,
        `<object data="${t}/object"></object><embed src="${t}/embed">`,
        `<form action="${t}/form" method="post"><input name="p" type="password"><input type="image" src="${t}/input.png"><button>go</button></form>`,
        `<svg><image href="${t}/svg.png"/><script>document.title='owned'</script><use href="${t}/use.svg#x"/></svg>`,
        `<math><mtext><table><mglyph><style><img src=x onerror="document.title='owned'"></style></mglyph></table></mtext></math>`,
        `<div style="background:url(${t}/inline.png);background-image:image-set(url(${t}/set.png) 1x);color:rgb(1,2,3);position:fixed;top:0">styled</div>`,
        `<table background="${t}/table.png"><tr><td background="${t}/td.png">cell</td></tr></table>`,
        '<a id="js" href="javascript:document.title=\'owned\'">bad link</a> <a href="data:text/html,<script>1</script>">data link</a>',
        '<a id="vb" href=" jav&#x09;ascript:alert(1)">tab link</a> <a href="https://example.org/good" target="_top" ping="' + t + '/ping">good link</a>',
        `<noscript><img src="${t}/noscript.png"></noscript><template><img src="${t}/template.png"></template>`,
        '<img name="body" alt=""><form name="getElementById"></form><div style="display:none">hidden preheader</div>',
        '</body></html>',
        '');
}

// About `bytes` of mail: text and one attachment of random bytes in base64.
export function large(bytes, random) {
    return Buffer.concat([
        lines('From: a@example.org', 'To: b@example.com', 'Subject: Large', 'MIME-Version: 1.0',
            'Content-Type: multipart/mixed; boundary=b', '', '--b', 'Content-Type: text/plain', '', 'See the attachment.',
            '--b', 'Content-Type: application/octet-stream; name=random.bin', 'Content-Transfer-Encoding: base64', '', ''),
        Buffer.from(base64Lines(random(Math.floor((bytes / 78) * 57))), 'latin1'),
        lines('', '--b--', ''),
    ]);
}

// About `bytes` of a text that compresses as text does.
export function longText(bytes) {
    const text = [];
    for (let n = 1, length = 0; length < bytes; n++) {
        text.push(`Line ${n} of a text that goes on: ${(n * 2654435761 % 2 ** 32).toString(36)} and ${(n * 40503 % 65536).toString(36)}.\r\n`);
        length += text.at(-1).length;
    }
    return Buffer.concat([lines('From: a@example.org', 'To: b@example.com', 'Subject: Long', '', ''), Buffer.from(text.join(''), 'latin1')]);
}
