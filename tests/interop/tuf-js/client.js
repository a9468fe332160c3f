// A stock TUF client: refreshes, and downloads the targets that are named.
//
//   node client.js METADATA_DIR METADATA_URL TARGET_DIR TARGET_URL [NAME…]
//
// METADATA_DIR holds root.json, the anchor. Prints "NAME PATH" for each target. Exit status: 0, 1 (with the error's
// class and message) where the client refuses, 2 where a target is not listed.
'use strict';
const fs = require('fs');
const { Updater } = require('tuf-js');

async function main([metadataDir, metadataBaseUrl, targetDir, targetBaseUrl, ...names]) {
  fs.mkdirSync(targetDir, { recursive: true });
  const updater = new Updater({ metadataDir, metadataBaseUrl, targetDir, targetBaseUrl });
  await updater.refresh();
  for (const name of names) {
    const target = await updater.getTargetInfo(name);
    if (!target) {
      console.error(`no target ${name}`);
      return 2;
    }
    console.log(name, await updater.downloadTarget(target));
  }
  return 0;
}

main(process.argv.slice(2)).then(
  (status) => (process.exitCode = status),
  (error) => {
    console.error(`${error.constructor.name}: ${error.message}`, error.cause || '');
    process.exitCode = 1;
  },
);
